"""JSON paths such as ``$.choices[*].meta.rank``, with a limit on the number of matches.

Supported are ``$``, ``.name``, ``.'any name'``, ``['any name']``, ``[0]``, ``[-1]``,
``[0,2]``, ``[1:3]``, ``[*]``, ``.*`` and ``..`` before any of them. There are no filters
and no functions, so a path computes nothing. Libraries return all matches at once, and
``$[0,0][0,0]…`` doubles them with every step; here the search ends at ``MAX_MATCHES``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from inference_store.adapters.errors import Fault
from inference_store.adapters.json_values import MAX_DEPTH, type_name

MAX_CHARS = 1000
MAX_MATCHES = 100_000
MAX_VISITS = 1_000_000

QUOTED = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
NUMBER = r"-?[0-9]{1,9}"
STEP = re.compile(
    rf"""
    (?: (?P<deep>\.\.) | \. )?
    (?:
        (?P<name>(?<=\.)[^\W\d][\w-]*)
      | (?P<quoted>(?<=\.)(?:{QUOTED}))
      | (?P<every>(?<=\.)\*|\[\s*\*\s*\])
      | \[\s*(?P<names>(?:{QUOTED})(?:\s*,\s*(?:{QUOTED}))*)\s*\]
      | \[\s*(?P<places>{NUMBER}(?:\s*,\s*{NUMBER})*)\s*\]
      | \[\s*(?P<slice>(?:{NUMBER})?\s*:\s*(?:{NUMBER})?(?:\s*:\s*(?:{NUMBER})?)?)\s*\]
    )
    """,
    re.VERBOSE,
)

Selector = Callable[[Any], Iterator[Any]]


class Path:
    """A parsed path: ``find`` returns every match, ``one`` the only match."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._steps = list(_read(text))

    def find(self, value: Any) -> list[Any]:
        """Return all matches in document order. Raises Fault if there are too many."""
        found, visits = [value], 0
        for deep, select in self._steps:
            matches: list[Any] = []
            for match in found:
                for inner in _with_inner(match) if deep else (match,):
                    visits += 1
                    matches.extend(select(inner))
                    if visits > MAX_VISITS or len(matches) > MAX_MATCHES:
                        raise Fault(f"{self.text} finds more than can be looked at.")
            found = matches
        return found

    def one(self, value: Any) -> Any:
        """Return the only match. Raises Fault if there is none, or several."""
        found = self.find(value)
        if len(found) != 1:
            count = len(found) or "nothing"
            raise Fault(f"{self.text} finds {count} where one value is needed.")
        return found[0]


def _read(text: str) -> Iterator[tuple[bool, Selector]]:
    if not isinstance(text, str) or not text.startswith("$"):
        raise Fault(f"A path begins with $, and {text!r:.60} does not.")
    if len(text) > MAX_CHARS:
        raise Fault(f"A path has at most {MAX_CHARS} characters.")
    place = 1
    while place < len(text):
        step = STEP.match(text, place)
        if step is None or step.end() == place:
            raise Fault(f"{text:.60} cannot be read as a path from character {place}.")
        yield bool(step["deep"]), _selector(step)
        place = step.end()


def _selector(step: re.Match[str]) -> Selector:
    if step["every"]:
        return _every
    if step["name"]:
        return _members([step["name"]])
    if step["quoted"]:
        return _members([_unquote(step["quoted"])])
    if step["names"]:
        return _members([_unquote(name) for name in re.findall(QUOTED, step["names"])])
    if step["places"]:
        return _elements([int(place) for place in step["places"].split(",")])
    parts = [
        int(bound) if bound.strip() else None for bound in step["slice"].split(":")
    ]
    if parts[2:] == [0]:
        raise Fault("The step of a slice is not 0.")
    cut = slice(*parts)
    return lambda value: iter(value[cut]) if isinstance(value, list) else iter(())


def _members(names: list[str]) -> Selector:
    def select(value: Any) -> Iterator[Any]:
        if isinstance(value, dict):
            yield from (value[name] for name in names if name in value)

    return select


def _elements(places: list[int]) -> Selector:
    def select(value: Any) -> Iterator[Any]:
        if isinstance(value, list):
            size = len(value)
            yield from (value[place] for place in places if -size <= place < size)

    return select


def _every(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _with_inner(value: Any) -> Iterator[Any]:
    """Yield a value and everything inside it, in document order."""
    ahead = [(value, 0)]
    while ahead:
        value, depth = ahead.pop()
        yield value
        if depth == MAX_DEPTH and isinstance(value, (dict, list)) and value:
            raise Fault(f"{type_name(value)} lies deeper than {MAX_DEPTH} levels.")
        ahead.extend((inner, depth + 1) for inner in reversed(list(_every(value))))


def _unquote(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1])
