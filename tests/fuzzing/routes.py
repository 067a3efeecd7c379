"""Every route of the URLconf and every body of the API's description, with hostile values.

Nothing is listed by hand: a route that is new is tried from its first day.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from django.urls import URLPattern, get_resolver
from drf_spectacular.generators import SchemaGenerator
from hypothesis import strategies as st

CONVERTER = re.compile(r"(?<!\?P)<(?:[a-z]+:)?(?P<name>\w+)>")
ANCHORS = re.compile(r"[\^$]|\\Z")

TEXTS = [
    "",
    " ",
    "\0",
    "\x1f",
    "a\nb",
    "..",
    "%00",
    "%",
    "é",
    "\u202e",
    "\U0001f6a2",
    "null",
    "-1",
    "0",
    "1e400",
    "NaN",
    "Infinity",
    "9" * 30,
    "-9223372036854775809",
    "2026-13-45T99:99:99Z",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59.999999-23:59",
    "2026-01-01T00:00:00+99:99",
    "a" * 256,
    "x" * 5000,
    "a=b",
    'label:"',
    "meta.a in [",
    "(" * 50,
    "not " * 30 + "a=b",
    "[a, b]",
    "[" + "a," * 2000 + "]",
    "json.int",
    "http://169.254.169.254/",
    "{}",
    "[[[]]]",
    "*",
    "00000000-0000-0000-0000-000000000000",
    "é" * 300,
    "' OR 1=1 --",
    "{{ 7 }}",
]
NUMBERS = [
    0,
    1,
    -1,
    1.5,
    -0.0,
    2**31,
    2**63,
    -(2**63) - 1,
    10**400,
    1e308,
    5e-324,
    91,
    181,
]
# What is there, so that not every call ends at a 404.
KNOWN = {
    "model_id": ["yolo-harbour"],
    "project_id": ["harbour"],
    "inference_id": ["a", "b"],
    "key": ["frame", "camera"],
    "name": ["set", "nightly"],
    "number": ["1", "working"],
    "before": ["1"],
    "after": ["working"],
    "kind": ["input", "answer"],
}
RARE = 4  # one value in so many is not one of those that are known

text = st.sampled_from(TEXTS) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=12
)
number = st.sampled_from(NUMBERS) | st.integers() | st.floats(allow_nan=False)
scalar = st.one_of(st.none(), st.booleans(), text, number)
anything = st.recursive(
    scalar,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4)
    ),
    max_leaves=8,
)


@cache
def routes() -> list[str]:
    """As ``/api/v1/models/{model_id}/inferences``."""
    return sorted({f"/{_plain(route)}" for route in _walk(get_resolver().url_patterns)})


def _walk(patterns: Any, before: str = "") -> Iterator[str]:
    for each in patterns:
        whole = before + str(each.pattern)
        if isinstance(each, URLPattern):
            yield whole
        else:
            yield from _walk(each.url_patterns, whole)


def _plain(route: str) -> str:
    """The route with ``{name}`` for each part that may be anything."""
    route = CONVERTER.sub(lambda found: f"{{{found['name']}}}", ANCHORS.sub("", route))
    while (start := route.find("(?P<")) >= 0:
        name, _, _ = route[start + 4 :].partition(">")
        route = f"{route[:start]}{{{name}}}{route[_end_of_group(route, start) :]}"
    while (start := route.find("(?")) >= 0:
        route = route[:start] + route[_end_of_group(route, start) :]
    return route.replace("\\", "").replace("?", "")


def _end_of_group(text: str, start: int) -> int:
    depth, in_class = 0, False
    for place in range(start, len(text)):
        if text[place] == "[":
            in_class = True
        elif text[place] == "]":
            in_class = False
        elif not in_class and text[place] in "()":
            depth += 1 if text[place] == "(" else -1
            if not depth:
                return place + 1
    raise ValueError(text)


@st.composite
def paths(draw: Any) -> tuple[str, str]:
    """A route, and a path that it may match."""
    route = draw(st.sampled_from(routes()))
    path = route
    for name in re.findall(r"\{(\w+)\}", route):
        known = KNOWN.get(name, [])
        value = draw(st.sampled_from(known)) if known else ""
        if not known or not draw(st.integers(0, RARE)):
            value = draw(text)
        path = path.replace(f"{{{name}}}", value, 1)
    return route, path


@cache
def description() -> dict[str, Any]:
    return SchemaGenerator().get_schema(request=None, public=True)


@cache
def names() -> list[str]:
    """Every name of a member or parameter that the API knows."""
    found = set()
    waiting: list[Any] = [description()]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            found |= set(each.get("properties") or ())
            if each.get("in") in ("query", "path"):
                found.add(each["name"])
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each
    return sorted(found)


def body_of(route: str, method: str) -> st.SearchStrategy[Any]:
    """A body of the form that the description gives, with something wrong in it."""
    said = description()["paths"].get(route, {}).get(method, {}).get("requestBody", {})
    schema = said.get("content", {}).get("application/json", {}).get("schema")
    if not schema:
        return anything
    return shaped(schema) | anything


def shaped(schema: dict[str, Any], levels: int = 6) -> st.SearchStrategy[Any]:
    """Values like those of a schema: each member may be missing, odd, or unknown."""
    if not levels:
        return scalar
    if reference := schema.get("$ref"):
        name = reference.rpartition("/")[2]
        return shaped(description()["components"]["schemas"][name], levels - 1)
    for several in ("allOf", "oneOf", "anyOf"):
        if several in schema:
            return st.one_of([shaped(each, levels - 1) for each in schema[several]])
    if "enum" in schema:
        return st.sampled_from([each for each in schema["enum"] if each is not None])
    if "properties" in schema:
        return _object(schema, levels)
    kind = schema.get("type")
    kinds = kind if isinstance(kind, list) else [kind]
    if "array" in kinds:
        return st.lists(shaped(schema.get("items", {}), levels - 1), max_size=3)
    if "object" in kinds:
        return st.dictionaries(text, scalar, max_size=3)
    if "boolean" in kinds:
        return st.booleans()
    if "integer" in kinds or "number" in kinds:
        return number
    return text if "string" in kinds else scalar


@st.composite
def _object(draw: Any, schema: dict[str, Any], levels: int) -> dict[str, Any]:
    needed = set(schema.get("required", ()))
    made = {}
    for name, member in schema["properties"].items():
        if member.get("readOnly"):
            continue
        if name in needed or draw(st.booleans()):
            odd = not draw(st.integers(0, 2 * RARE))
            if name in KNOWN and draw(st.booleans()):
                made[name] = draw(st.sampled_from(KNOWN[name]))
            else:
                made[name] = draw(anything if odd else shaped(member, levels - 1))
    if not draw(st.integers(0, 2 * RARE)):
        made[draw(st.sampled_from(names()))] = draw(scalar)
    return made
