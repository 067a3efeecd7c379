"""Read attributes: JSON in texts, names with numbers for lists, numbers in texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import orjson

from protocols.json_bounds import check_json

STEPS_MAX = 16  # of the path that a name is
TEXT_DEPTH_MAX = 128  # of a JSON text that is read; more cannot be written again
TEXT_VALUES_MAX = 4_000_000  # of the JSON texts of one span, weighed as in json_bounds

_left: ContextVar[int] = ContextVar("values_left", default=TEXT_VALUES_MAX)


@contextmanager
def bounded_texts(values: int = TEXT_VALUES_MAX) -> Iterator[None]:
    """Let the JSON texts that are read within have so many values together."""
    token = _left.set(values)
    try:
        yield
    finally:
        _left.reset(token)


def load(text: str) -> Any:
    """Return the value of a JSON text.

    Raises ValueError for a text that is no JSON, that is nested deeper than ``TEXT_DEPTH_MAX``,
    or that has more values than are left: three bytes of it can become an object of 60.
    """
    body = text.encode()
    left = _left.get()
    _left.set(left - check_json(body, TEXT_DEPTH_MAX, left))
    return orjson.loads(body)


def from_json(value: Any) -> Any:
    """Return the object or list that a text is in JSON, or the value itself.

    A number or a quoted text is left as it is: a model may have said it so. So is a text that
    is nested too deep or has too many values.
    """
    if not isinstance(value, str):
        return value
    text = value.lstrip()
    if not text.startswith(("{", "[")):
        return value
    try:
        return load(text)
    except ValueError:
        return value


def object_in(value: Any) -> dict[str, Any]:
    """Return the object of a JSON text, or an empty one."""
    found = from_json(value)
    return found if isinstance(found, dict) else {}


def list_in(value: Any) -> list[Any]:
    """Return the list of a JSON text, or an empty one."""
    found = from_json(value)
    return found if isinstance(found, list) else []


def text_in(value: Any) -> str:
    """Return a value as text: a text itself, another value as JSON."""
    if isinstance(value, str):
        return value
    return "" if value is None else dump(value)


def dump(value: Any) -> str:
    """Return the compact JSON text of a value."""
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()


def number_in(value: Any) -> float | None:
    """Return a finite number, also one that is written as a text."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if not isinstance(value, int | float) or not abs(value) < float("inf"):
        return None
    return value


def nested(attributes: Mapping[str, Any], prefixes: Iterable[str]) -> dict[str, Any]:
    """Return what lies below each of these prefixes, which end with a dot.

    ``a.0.b`` below the prefix ``a.`` is ``[{"b": …}]``. Numbers need not be without gaps, and
    a large one takes no more room than a small one.
    """
    trees: dict[str, dict[str, Any]] = {prefix: {} for prefix in prefixes}
    beginnings = tuple(trees)
    for name, value in attributes.items():
        if not name.startswith(beginnings):  # most have none of them
            continue
        for prefix, tree in trees.items():
            if name.startswith(prefix):
                _put(tree, name[len(prefix) :].split(".", STEPS_MAX), value)
                break
    return {prefix: _shape(tree) for prefix, tree in trees.items() if tree}


def _put(tree: dict[str, Any], steps: list[str], value: Any) -> None:
    for step in steps[:-1]:
        inner = tree.get(step)
        if not isinstance(inner, _Tree):
            inner = tree[step] = _Tree()
        tree = inner
    tree.setdefault(steps[-1], value)


class _Tree(dict[str, Any]):
    """A level of names, told from an object that was a value."""


def _shape(tree: dict[str, Any]) -> Any:
    shaped = {
        name: _shape(each) if isinstance(each, _Tree) else each
        for name, each in tree.items()
    }
    if shaped and all(name.isdecimal() and name.isascii() for name in shaped):
        return [shaped[name] for name in sorted(shaped, key=_in_order)]
    return shaped


def _in_order(name: str) -> tuple[int, str]:
    return len(name.lstrip("0")), name.lstrip("0")
