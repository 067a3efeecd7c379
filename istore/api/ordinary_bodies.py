"""Checks for bodies in the form that most clients send, read without a serializer's overhead.

A reader takes what it knows for sure. At the first thing out of the ordinary it raises
``Unusual``, and the serializer reads the body or says what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any


class Unusual(Exception):
    """Something that the serializer must look at."""


def require(holds: bool) -> None:
    """Raise ``Unusual`` unless the condition holds."""
    if not holds:
        raise Unusual


def read_flag(value: Any) -> bool:
    """Return a boolean."""
    require(type(value) is bool)
    return bool(value)


def one_of(words: Container[str]) -> Callable[[Any], Any]:
    """Return a reader of one of these words."""

    def read(value: Any) -> Any:
        require(value in words)
        return value

    return read
