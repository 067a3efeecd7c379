"""Write a filter as a text query; the inverse of ``reading``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from inferences.search.filters.all_kinds import WORDS
from inferences.search.filters.leaf import Filter, Leaf
from inferences.search.filters.tree import And, Not, Or, normal
from inferences.search.filters.words import quote


def write(filters: Filter) -> str:
    """Return the text query of a filter; ``parse`` gives back its normal form."""
    found = normal(filters)
    return "" if found == And(()) else _write(found)


def _write(filters: Filter) -> str:
    match filters:
        case And(()):
            return "*"
        case And(parts):
            return " ".join(_in_group(part, parts) for part in parts)
        case Or(parts):
            return " OR ".join(_write(part) for part in parts)
        case Not(part):
            return f"-{_alone(part)}"
    return " ".join(_terms(filters))


def _in_group(part: Filter, group: Sequence[Filter]) -> str:
    """Write a part of an AND, in parentheses where it must not merge with another part."""
    is_joined = isinstance(part, Leaf) and part.is_joined
    alike = sum(type(each) is type(part) for each in group)
    if isinstance(part, Or) or (is_joined and alike > 1):
        return f"({_write(part)})"
    return _write(part)


def _alone(part: Filter) -> str:
    """Write a part as one factor, in parentheses unless it is one term."""
    written = _write(part)
    is_one = not isinstance(part, And | Or) and len(list(_terms(part))) == 1
    return written if is_one or part == And(()) else f"({written})"


def _terms(leaf: Filter) -> Iterator[str]:
    """Yield the terms of a leaf; most leaves have one."""
    if isinstance(leaf, Not):
        yield _write(leaf)
        return
    if not isinstance(leaf, Leaf):
        raise TypeError(f"{type(leaf).__name__} has no text.")
    for text, each in WORDS.items():
        if each == leaf:
            yield text
            return
    for term in leaf.terms():
        if term in WORDS:  # a key that is called as one of the words
            name, _, key = term.partition(":")
            term = f"{name}:{quote(key)}"
        yield term
