"""Numbers of labels: the model's classes first, in their order, then others as first met."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


class LabelNumbers:
    """Numbers for ``known`` labels, and the next free number for each other label.

    A number means the same label in every archive of a model. Only labels in ``listed`` and labels
    that were met are listed. So a label whose records were all removed keeps its number, but its
    text leaves the store with the records.
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
        """Return the number of a label, and list the label."""
        self._listed.add(label)
        return self._numbers.setdefault(label, self._first + len(self._numbers))

    def __iter__(self) -> Iterator[tuple[str, int]]:
        """Yield the listed labels with their numbers, in the order of the numbers."""
        return (pair for pair in self._numbers.items() if pair[0] in self._listed)
