"""Numbers for labels: the model's classes first, in their order, then as they were met."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


class LabelNumbers:
    """The numbers of ``known`` labels, growing by one for each other label that is met.

    A number stands for its label in every archive of a model. Only labels of ``listed`` and
    those that were met are listed: a label whose records were all removed keeps its
    number, and its text leaves the store with them.
    """

    def __init__(
        self, known: Sequence[str], listed: Sequence[str], first: int = 0
    ) -> None:
        self._numbers: dict[str, int] = {}
        for label in known:
            self._numbers.setdefault(label, first + len(self._numbers))
        self._first = first
        self._listed = set(listed)

    def number(self, label: str) -> int:
        self._listed.add(label)
        return self._numbers.setdefault(label, self._first + len(self._numbers))

    def __iter__(self) -> Iterator[tuple[str, int]]:
        """Labels with their numbers, in the order of the numbers."""
        return (pair for pair in self._numbers.items() if pair[0] in self._listed)
