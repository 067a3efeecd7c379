"""The exception of adapters, which names the step that failed."""

from __future__ import annotations

from collections.abc import Sequence

MESSAGE_CHARS = 400


class Fault(ValueError):
    """An internal error of a step; it becomes an ``AdapterError`` that names the step."""


class AdapterError(ValueError):
    """An adapter cannot use a description or transform an item.

    ``step`` names the step, such as ``step 2 (Map) > Rename``; ``reason`` says what is wrong.
    """

    def __init__(self, path: Sequence[str], reason: str) -> None:
        self.path = tuple(path)
        self.step = " > ".join(self.path)
        self.reason = reason[:MESSAGE_CHARS]
        super().__init__(f"{self.step}: {self.reason}" if self.step else self.reason)
