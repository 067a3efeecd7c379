"""Write a filter as a text query; the inverse of ``reading``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from inferences.search.filters.classes import ClassFilter
from inferences.search.filters.detections import DetectionFilter
from inferences.search.filters.existence import (
    HasInput,
    HasKey,
    HasWarnings,
    IsNotUnderstood,
    IsProtected,
    NoDetections,
)
from inferences.search.filters.ground_truth import TruthFilter
from inferences.search.filters.in_dataset import InDataset
from inferences.search.filters.intersection import Filter, InferenceFilter
from inferences.search.filters.location import GeoCircle, GeoRectangle, LocationFilter
from inferences.search.filters.metadata import OF_LISTS, MetadataFilter
from inferences.search.filters.time_window import BEGINNING, TimeWindow
from inferences.search.filters.tree import And, Not, Or, normal
from inferences.search.text.words import (
    TERMS_OF_KEYS,
    number,
    quote,
    word,
    write_circle,
    write_moment,
)

KEY = re.compile(r"[\w.-]+")
SIGNS = {"not in": " not in ", "in": " in ", "contains": " contains ", "starts with": " startswith "}  # fmt: skip
OF_GROUPS = {"input", "detections", "dataset", "warnings"}
SHORT = {key: term for term, key in TERMS_OF_KEYS.items()}


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
    """Write a part of an AND, in parentheses where it must not merge with another part.

    The parser joins the label and score terms of a group to one detection, and its times to
    one window.
    """
    shared = [
        each
        for each in group
        if isinstance(
            each, TimeWindow if isinstance(part, TimeWindow) else DetectionFilter
        )
    ]
    if isinstance(part, Or):
        return f"({_write(part)})"
    if isinstance(part, TimeWindow | DetectionFilter) and len(shared) > 1:
        return f"({_write(part)})"
    return _write(part)


def _alone(part: Filter) -> str:
    """Write a part as one factor, in parentheses unless it is one term."""
    written = _write(part)
    is_one = not isinstance(part, And | Or) and len(list(_terms(part))) == 1
    return written if is_one or part == And(()) else f"({written})"


def _terms(leaf: Filter) -> Iterator[str]:
    """Yield the terms of a leaf; most leaves have one."""
    match leaf:
        case Not():
            yield _write(leaf)
        case DetectionFilter():
            yield from _detection(leaf)
        case ClassFilter(label):
            yield f"class:{word(label)}"
            for _, sign, bound in leaf.bounds():
                yield f"prob{sign}{number(bound)}"
        case TimeWindow(start, end):
            if start != BEGINNING or end is None:
                yield f"since:{write_moment(start)}"
            if end is not None:
                yield f"until:{write_moment(end, end_of_day=True)}"
        case MetadataFilter():
            yield _comparison(leaf)
        case LocationFilter(GeoCircle() as circle, None):
            yield f"near:({write_circle(circle)})"
        case LocationFilter(None, GeoRectangle() as box):
            corners = (
                box.p1.latitude,
                box.p1.longitude,
                box.p2.latitude,
                box.p2.longitude,
            )
            yield f"within:({','.join(map(number, corners))})"
        case HasKey(key, type_):
            yield f"has:{_key(key, OF_GROUPS if not type_ else ())}" + (
                f":{type_}" if type_ else ""
            )
        case HasInput():
            yield "has:input"
        case HasWarnings():
            yield "has:warnings"
        case IsNotUnderstood():
            yield "is:not-understood"
        case IsProtected():
            yield "is:protected"
        case NoDetections():
            yield "no:detections"
        case TruthFilter(state):
            yield f"truth:{state}"
        case InDataset(name):
            yield "has:dataset" if name is None else f"dataset:{word(name)}"
        case InferenceFilter():
            yield _column(leaf)
        case _:
            raise TypeError(f"{type(leaf).__name__} has no text.")


def _detection(leaf: DetectionFilter) -> Iterator[str]:
    labels = [word(label) for label in leaf.labels or ()]
    if labels:
        yield f"label:{labels[0] if len(labels) == 1 else '[' + ', '.join(labels) + ']'}"
    for _, sign, bound in leaf.bounds():
        yield f"score{sign}{number(bound)}"
    if leaf == DetectionFilter():
        yield "has:detections"


def _column(leaf: InferenceFilter) -> str:
    if leaf.data_source is not None:
        return f"source:{word(leaf.data_source)}"
    if leaf.data_hash is not None:
        return f"hash:{bytes(leaf.data_hash).hex()}"
    assert leaf.inference_action is not None  # a leaf has one field
    return f"action:{leaf.inference_action.label}"


def _comparison(leaf: MetadataFilter) -> str:
    if leaf.key in SHORT and (leaf.type, leaf.operator) == ("string", "="):
        return f"{SHORT[leaf.key]}:{word(leaf.value)}"
    operand = leaf.operand()
    if leaf.type == "number":
        values = leaf.literals
    else:
        values = [
            quote(each) if leaf.is_text else str(each)
            for each in (operand if leaf.operator in OF_LISTS else [operand])
        ]
    value = f"[{', '.join(values)}]" if leaf.operator in OF_LISTS else values[0]
    # The parser infers these: a bare number is of any type, a quoted text a string.
    type_ = "" if leaf.type in ("number", "string") else f":{leaf.type}"
    sign = SIGNS.get(leaf.operator, leaf.operator)
    return f"meta.{_key(leaf.key)}{type_}{sign}{value}"


def _key(key: str, taken: Sequence[str] | set[str] = ()) -> str:
    """Return the key bare, or quoted where it would read as something else."""
    bare = KEY.fullmatch(key) and key not in taken and not key.startswith("meta.")
    return key if bare else quote(key)
