"""What a stream format is, and the exception for events that it does not know."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

Value = dict[str, Any]


class Unknown(ValueError):
    """An event that this form does not know."""


class Form(ABC):
    """The state of one stream, in the format of one kind of server.

    ``knows`` returns whether an event has this format. ``take`` merges an event, and returns
    whether it held some of the answer itself: the first such event has what people call the
    first token. It raises ``Unknown`` or ``Clash``. ``answer`` returns the answer as far as it
    came, and ``is_whole`` whether everything that came is in it.
    """

    #: What marks a proper end of the stream; "" if the servers send no such mark.
    end_mark = ""

    def __init__(self) -> None:
        self.has_ended = False

    @classmethod
    @abstractmethod
    def knows(cls, value: Value) -> bool: ...

    @abstractmethod
    def take(self, value: Value) -> bool: ...

    @abstractmethod
    def answer(self) -> Value: ...

    def is_whole(self) -> bool:
        return True
