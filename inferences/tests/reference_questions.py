"""Questions that are drawn at random: filters, trees and statistics."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from inferences.models import InferenceAction
from inferences.search.filters.ground_truth import STATES
from inferences.search.filters.operands import write_list
from inferences.tests import reference
from inferences.tests.reference_store import (
    DATASETS,
    EXAMPLES,
    HASHES,
    KEYS,
    LABELS,
    MOMENTS,
    NUMBER_TEXTS,
    NUMERIC,
    PATHS,
    PLACES,
    REAL,
    SCORES,
    SOURCES,
    SPOKEN,
    TEXTS,
    TRACES,
    WHOLE,
)

LITERALS = ["2.5", "-0.5", "9007199254740993.5", "9223372036854775808", "1e3", "-0"]

LITERALS += [
    "99999999999999999999",
    "0.1",
    "007",
    "2.0",
    "-9223372036854775809",
    "1e300",
]


def scalars(type_: str) -> st.SearchStrategy[str]:
    if type_ == "number":
        return st.sampled_from(LITERALS) | scalars("int") | scalars("float")
    if type_.endswith("string"):
        return st.sampled_from([*TEXTS, *NUMBER_TEXTS, "l", "needle", "x" * 445])
    whole = [*WHOLE, 7, 1000, 2**53 + 2]
    if type_.endswith("int"):
        return st.sampled_from(whole).map(str)
    return st.sampled_from([*REAL, *map(float, whole), 0.5, 1000.0]).map(repr)


OPERATORS = ["=", "!=", ">", ">=", "<", "<=", "in"]


@st.composite
def comparisons(draw: Any, further: bool = False) -> dict[str, str]:
    types = [*reference.OPERANDS, *(["number"] if further else [])]
    type_ = draw(st.sampled_from(types))
    keys = [*KEYS, "absent"]
    if type_ == "number":  # keys that have none are another question
        keys = NUMERIC
    key = draw(st.sampled_from(PATHS if type_.startswith("json.") else keys))
    operators = OPERATORS + (["not in"] if further else [])
    if further and type_.endswith("string"):
        operators = [*operators, "contains", "starts with"]
    operator = draw(st.sampled_from(operators))
    if operator in ("in", "not in"):
        items = draw(st.lists(scalars(type_), min_size=1, max_size=4))
        value = write_list(items) if items != [""] else "[,]"
    else:
        value = draw(scalars(type_))
    return {"key": key, "type": type_, "operator": operator, "value": value}


latitudes = st.sampled_from([p[0] for p in PLACES]) | st.floats(-90, 90)

longitudes = st.sampled_from([p[1] for p in PLACES]) | st.floats(-180, 180)

points = st.fixed_dictionaries({"latitude": latitudes, "longitude": longitudes})

radii = st.sampled_from([0, 1, 100, 5000, 1e6, 1e7, 2.1e7, 1e300]) | st.floats(0, 2.1e7)

circles = st.fixed_dictionaries({"center": points, "radius": radii})

rectangles = st.fixed_dictionaries({"p1": points, "p2": points})

locations = st.fixed_dictionaries(
    {},
    optional={
        "gps_coordinates_circle": circles,
        "gps_coordinates_rectangle": rectangles,
    },
)

times = st.sampled_from(MOMENTS) | st.datetimes(
    datetime(1900, 1, 1), datetime(2025, 12, 31), timezones=st.just(UTC)
)


@st.composite
def windows(draw: Any) -> dict[str, str]:
    start, end = sorted([draw(times), draw(times)])
    asked = {}
    if draw(st.booleans()):
        asked["start"] = start.isoformat()
    if draw(st.booleans()) and (asked or end.year >= 1970):
        asked["end"] = end.isoformat().replace("+00:00", "Z")
    return asked


@st.composite
def detections(draw: Any, further: bool = False) -> dict[str, Any]:
    asked = {}
    if draw(st.booleans()):
        labels = st.sampled_from([*LABELS, "unknown"])
        asked["labels"] = draw(st.lists(labels, min_size=1, max_size=3))
    names = ["minimum_score", "maximum_score"]
    names += ["above_score", "below_score"] if further else []
    for name in names:
        if draw(st.integers(0, 2)) == 0:
            asked[name] = draw(st.sampled_from(SCORES))
    if asked.get("minimum_score", -9) > asked.get("maximum_score", 1e39):
        del asked["minimum_score"]
    return asked


@st.composite
def among_classes(draw: Any) -> dict[str, Any]:
    asked = draw(detections(further=True))
    asked.pop("labels", None)
    return asked | {"label": draw(st.sampled_from([*LABELS, "unknown"]))}


def fields(further: bool = False) -> dict[str, st.SearchStrategy[Any]]:
    return {
        "inference_action_filter": st.sampled_from(InferenceAction.labels),
        "data_hash_filter": st.sampled_from([*HASHES, "ab" * 32, HASHES[0].upper()]),
        "data_source_filter": st.sampled_from([*SOURCES, "unknown"]),
        "time_window_filter": windows(),
        "metadata_filter": st.lists(comparisons(further), max_size=2),
        "location_filter": locations,
        "deconstructed_inference_filter": detections(further),
    }


def some(of: dict[str, st.SearchStrategy[Any]], most: int) -> st.SearchStrategy[Any]:
    """A few of the fields, one most often."""
    names = st.lists(st.sampled_from([*of]), min_size=1, max_size=most, unique=True)
    return names.flatmap(lambda names: st.fixed_dictionaries({n: of[n] for n in names}))


has_keys = st.sampled_from(
    [("pose", "json"), ("pose.angle", "json"), ("pose.list.0", "json.int")]
    + [(key, type_) for key in KEYS[:4] for type_ in ("string", "int", "float", "json")]
    + [
        (path, type_)
        for path in PATHS
        for type_ in ("json.int", "json.float", "json.string")
    ]
).map(lambda pair: {"key": pair[0], "type": pair[1]}) | st.sampled_from(
    [*KEYS, "pose", "pose.angle", "absent"]
).map(lambda key: {"key": key})

spoken = st.sampled_from([each for each in SPOKEN if each not in ("<b>", "—")])

phrases = st.lists(spoken, min_size=1, max_size=3).map(" ".join)


@st.composite
def items(draw: Any) -> str:
    words = draw(phrases)
    words = words[: draw(st.integers(1, 6))].strip() or "wet"
    words += draw(st.sampled_from(["", "", "*"]))
    is_bare = " " not in words and draw(st.booleans())
    return draw(st.sampled_from(["", "", "-"])) + (words if is_bare else f'"{words}"')


expressions = st.lists(
    st.lists(items(), min_size=1, max_size=3).map(" ".join), min_size=1, max_size=2
).map(" OR ".join)

FURTHER = {
    "text": expressions,
    "prompt": expressions,
    "answer": expressions,
    "class_filter": among_classes(),
    "has_key": has_keys,
    "has_input": st.booleans(),
    "has_warnings": st.booleans(),
    "is_not_understood": st.booleans(),
    "is_protected": st.booleans(),
    "no_detections": st.booleans(),
    "ground_truth": st.sampled_from(STATES),
    "ground_truth_label": st.sampled_from(["ship", "tug", "nobody's"]),
    "in_dataset": st.sampled_from([*DATASETS, "none"]),
    "in_split": st.just("test"),
    "in_any_dataset": st.booleans(),
    "status": st.sampled_from(
        ["ok", "failed", "timeout", "broken-off", "error", "200", "429", "2xx", "4xx"]
    ),
    "in_trace": st.sampled_from([*TRACES, "f" * 32]),
    "model_version": st.sampled_from(TEXTS),
    "environment": st.just("test"),
}

contract = some(fields(), 3)

leaves = some(fields(further=True) | FURTHER, 2) | st.just({})

trees = st.recursive(
    leaves,
    lambda parts: (
        st.lists(parts, min_size=1, max_size=3).map(lambda p: {"and": p})
        | st.lists(parts, min_size=1, max_size=3).map(lambda p: {"or": p})
        | parts.map(lambda part: {"not": part})
    ),
    max_leaves=5,
)

# What is asked of the database is many times slower than what makes it up.
many = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)

few = settings(many, max_examples=60)


@st.composite
def statistics_queries(draw: Any) -> dict[str, Any]:
    type_ = draw(st.sampled_from(["string", "int", "float", "number"]))
    asked = {"key": draw(st.sampled_from(KEYS)), "type": type_}
    if type_ == "string":
        return asked
    limits = st.sampled_from([*REAL, *map(float, WHOLE), -3.5, 0.5])
    low, high = sorted([draw(limits), draw(limits)])
    if draw(st.booleans()):
        asked["distribution_minimum_value"] = low
    if draw(st.booleans()):
        asked["distribution_maximum_value"] = high
    if draw(st.booleans()):
        asked["distribution_bin_count"] = draw(st.integers(1, 40))
    elif draw(st.booleans()):
        asked["distribution_bin_width"] = draw(
            st.sampled_from([0.3, 1, 2.5, 1e15, 1e305])
        )
    return asked
