"""Numbers for labels: the model's classes first, in their order, then as they are met."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


class LabelNumbers:
    """Grows by one for each label that was not met before."""

    def __init__(self, class_labels: Sequence[str] = (), first: int = 0) -> None:
        self.first = first
        self._numbers: dict[str, int] = {}
        for label in class_labels:
            self.number(label)

    def number(self, label: str) -> int:
        return self._numbers.setdefault(label, self.first + len(self._numbers))

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return iter(self._numbers.items())
