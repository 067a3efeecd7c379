"""What adapters raise: one error, which names the step."""

from __future__ import annotations

from collections.abc import Sequence

MESSAGE_CHARS = 400


class Fault(ValueError):
    """Something an adapter cannot do, before it is known which step that was."""


class AdapterError(ValueError):
    """A description or an item that an adapter cannot work with.

    ``step`` says where, as ``step 2 (Map) > Rename``; ``reason`` what is wrong.
    """

    def __init__(self, path: Sequence[str], reason: str) -> None:
        self.path = tuple(path)
        self.step = " > ".join(self.path)
        self.reason = reason[:MESSAGE_CHARS]
        super().__init__(f"{self.step}: {self.reason}" if self.step else self.reason)
