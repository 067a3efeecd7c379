"""Validate answers by the JSON schema of an interface, with bounded work.

Schemas come with requests, and every answer is validated, so the cost must be bounded.
Patterns are matched by an engine in linear time, and references are never fetched.
References must not be recursive. The size of a schema is counted as if each reference were
written out; the work is at most that size times the size of the answer, and validation is
refused above ``MOST_WORK``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import orjson
from jsonschema_rs import Draft202012Validator, RegexOptions, ValidationError

REMEMBERED = 256
MESSAGE_CHARS = 300
MOST_PARTS = 20_000
MOST_LEVELS = 32
MOST_WORK = 200_000_000  # parts of the schema times bytes of the answer: some seconds
# These keywords visit everything below them again on each level.
REFUSED = (
    "$dynamicRef",
    "$recursiveRef",
    "unevaluatedItems",
    "unevaluatedProperties",
)
DATA = ("const", "default", "enum", "examples")  # hold data, never schemas


class TooMuchWork(Exception):
    """The answer is too large to be validated by the schema."""


def check_schema(schema: dict[str, Any]) -> None:
    """Raise ValueError, with a sentence for people, unless answers can be validated by it."""
    _compiled(orjson.dumps(schema))


def misfit(schema: dict[str, Any], value: Any, size: int) -> str:
    """Return where and why a value does not fit the schema; empty if it fits.

    ``size`` is the size of the value in bytes. Raises TooMuchWork.
    """
    compiled = _compiled(orjson.dumps(schema))
    if compiled.parts * size > MOST_WORK:
        raise TooMuchWork("The answer is too large to be held against the schema.")
    if compiled.validator.is_valid(value):
        return ""
    try:
        compiled.validator.validate(value)
    except ValidationError as error:
        return _describe(error)
    return ""


@dataclass(frozen=True, slots=True)
class _Compiled:
    validator: Any
    parts: int


@lru_cache(REMEMBERED)
def _compiled(text: bytes) -> _Compiled:
    schema = orjson.loads(text)
    try:
        parts = _Measure(schema).parts()
        validator = Draft202012Validator(
            schema, pattern_options=RegexOptions(), offline=True
        )
    except (ValidationError, ValueError) as error:
        raise ValueError(
            f"It is not a usable JSON schema. {_describe(error)}"
        ) from None
    return _Compiled(validator, parts)


class _Measure:
    """Counts the parts of a schema as if each reference were written out."""

    def __init__(self, schema: Any) -> None:
        self._schema = schema
        self._known: dict[str, int] = {}
        self._open: set[str] = set()

    def parts(self) -> int:
        return self._of(self._schema, is_root=True)

    def _of(self, part: Any, *, is_root: bool = False) -> int:
        if isinstance(part, list):
            return 1 + self._sum(part)
        if not isinstance(part, dict):
            return 1
        for name in REFUSED:
            if name in part:
                raise ValueError(f"{name} is not supported.")
        if isinstance(part.get("$id"), str) and not is_root:
            raise ValueError("Only the schema itself may have an $id.")
        count = 1 + self._sum(each for name, each in part.items() if name not in DATA)
        if isinstance(part.get("$ref"), str):
            count += self._of_reference(part["$ref"])
        return count

    def _sum(self, parts: Any) -> int:
        count = 0
        for part in parts:
            count += self._of(part)
            if count > MOST_PARTS:
                raise ValueError(f"It has more than {MOST_PARTS:,} parts.")
        return count

    def _of_reference(self, reference: str) -> int:
        if reference in self._open:
            raise ValueError(f"The reference {reference!r:.60} leads back to itself.")
        if len(self._open) >= MOST_LEVELS:
            raise ValueError(f"References lie in {MOST_LEVELS} levels at most.")
        if reference not in self._known:
            self._open.add(reference)
            self._known[reference] = self._of(self._at(reference))
            self._open.remove(reference)
        return self._known[reference]

    def _at(self, reference: str) -> Any:
        found = self._schema
        for step in _steps(reference):
            try:
                found = found[int(step) if isinstance(found, list) else step]
            except (KeyError, IndexError, ValueError, TypeError):
                raise ValueError(
                    f"The reference {reference!r:.60} leads nowhere."
                ) from None
        return found


def _steps(reference: str) -> Iterator[str]:
    if reference != "#" and not reference.startswith("#/"):
        raise ValueError(
            f"A reference is one within the schema, such as '#/$defs/name', not "
            f"{reference!r:.60}."
        )
    for step in reference[2:].split("/") if reference != "#" else ():
        yield unquote(step).replace("~1", "/").replace("~0", "~")


def _describe(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)[:MESSAGE_CHARS]
    where = "".join(f"[{each!r}]" for each in error.instance_path)
    return f"${where}: {error.message}"[:MESSAGE_CHARS]
