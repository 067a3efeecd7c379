"""Parse the members of a configuration; an error names the member."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

TEXT_CHARS = 2048


class BadConfiguration(ValueError):
    """The member ``name`` is not valid; the message says why."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(why)
        self.name = name


def check_names(given: Mapping[str, Any], known: Collection[str]) -> None:
    for name in given:
        if name not in known:
            raise BadConfiguration(name, "There is no such member.")


def text(given: Mapping[str, Any], name: str, default: str | None = None) -> str:
    """Return a text that is not empty; the default, if there is one, when it is missing."""
    value = given.get(name)
    if value is None:
        value = default
    if value is None:
        raise BadConfiguration(name, "It has to be given.")
    if not isinstance(value, str) or len(value) > TEXT_CHARS or _has_controls(value):
        raise BadConfiguration(
            name, f"A text of at most {TEXT_CHARS} characters, without controls."
        )
    if not value and default is None:
        raise BadConfiguration(name, "It must not be empty.")
    return value


def choice(
    given: Mapping[str, Any], name: str, choices: Collection[str], default: str
) -> str:
    value = text(given, name, default)
    if value not in choices:
        raise BadConfiguration(name, f"One of {', '.join(choices)}.")
    return value


def number(
    given: Mapping[str, Any], name: str, default: float, least: float, most: float
) -> float:
    value = given.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadConfiguration(name, "A number.")
    if not (math.isfinite(value) and least <= value <= most):
        raise BadConfiguration(name, f"A number from {least:g} to {most:g}.")
    return value


def whole(
    given: Mapping[str, Any], name: str, default: int, least: int, most: int
) -> int:
    value = number(given, name, default, least, most)
    if value != int(value):
        raise BadConfiguration(name, "A whole number.")
    return int(value)


def _has_controls(value: str) -> bool:
    return any(each < " " or "\x7f" <= each <= "\x9f" for each in value)
