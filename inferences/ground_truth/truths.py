"""Parse and validate the forms of ground truth.

The ground truth has exactly one of these members:

    labels      ["ship", "tug"]; ``label`` with one text is the same. ``score`` may stand
                beside them: the share or probability that came true
    value       a number
    values      {name: number or text}, of several outputs
    series      [number, …], in the order of time
    boxes       [{label, xmin, ymin, xmax, ymax}] in the unit of the model's answers, or
                [{label, cx, cy, w, h, r}]; an empty list says that nothing is there
    polygons    [{label, contours: [[[x, y], …], …]}]
    entities    [{label, start, end}]
    relevance   {item: number}, of a ranking
    text        the text that would have been right

The model's task decides which of them fit: ``model_types.TYPES``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from django.conf import settings

from inferences.ground_truth.labels import Labels
from inferences.models.metadata_values import UNSTORABLE
from inferences.predictions.model_types import type_of
from inferences.predictions.parsers.context import LABEL_CHARS
from istore.errors import Invalid

LABELS_MAX = 1000
OUTPUTS_MAX = 1000
STEPS_MAX = 10_000
POINTS_MAX = 100_000
TRUTH_MAX_BYTES = 1024**2
LARGEST = 1e300  # keeps numbers and their differences finite as doubles
CORNERS = ("xmin", "ymin", "xmax", "ymax")
ORIENTED = ("cx", "cy", "w", "h", "r")

Truth = dict[str, Any]


def read_truth(
    value: Any, task_type: str, labels: Labels | None = None, *, is_typed: bool = True
) -> Truth:
    """Return the ground truth in its one form. Raises ``Invalid``.

    ``labels`` are those that the model knows. ``is_typed`` says that texts were written as
    texts, and are not cells of a table, which may as well be numbers.
    """
    if not isinstance(value, Mapping):
        raise Invalid("An object is expected.")
    given = {name: each for name, each in value.items() if each is not None}
    if "label" in given and "labels" not in given:
        given["labels"] = [given.pop("label")]
    if unknown := sorted(given.keys() - FORMS.keys() - {"score"}):
        raise Invalid("There is no such field.", unknown[0], code="unknown-field")
    names = given.keys() & FORMS.keys()
    if len(names) != 1:
        raise Invalid(f"One of {', '.join(allowed(task_type))} is expected.")
    (name,) = names
    if name not in allowed(task_type):
        fits = ", ".join(allowed(task_type))
        raise Invalid(f"A model of {task_type} has {fits}.", name)
    said = (labels or Labels()).in_truth(name, given[name], is_typed=is_typed)
    truth = {name: FORMS[name](said, name)}
    if "score" in given:
        if name != "labels":
            raise Invalid("A score stands beside labels.", "score")
        truth["score"] = _number(given["score"], "score")
    if len(json.dumps(truth, ensure_ascii=False).encode()) > TRUTH_MAX_BYTES:
        raise Invalid(f"More than {TRUTH_MAX_BYTES} bytes.", name)
    return truth


def allowed(task_type: str) -> tuple[str, ...]:
    """Return the forms that fit a task; all forms for a task without any of its own."""
    return type_of(task_type).forms or tuple(FORMS)


def _number(value: Any, *path: str | int) -> float:
    if type(value) not in (int, float) or not abs(value) <= LARGEST:
        raise Invalid("A finite number is expected.", *path)
    return float(value)


def _text(value: Any, most: int, *path: str | int) -> str:
    if not isinstance(value, str):
        raise Invalid("A text is expected.", *path)
    if len(value) > most:
        raise Invalid(f"More than {most} characters.", *path)
    if UNSTORABLE.search(value):
        raise Invalid("It holds a NUL or half a surrogate pair.", *path)
    return value


def _label(value: Any, *path: str | int) -> str:
    if value == "":
        raise Invalid("A label has at least one character.", *path)
    return _text(value, LABEL_CHARS, *path)


def _list(value: Any, most: int, *path: str | int) -> list[Any]:
    if not isinstance(value, list):
        raise Invalid("A list is expected.", *path)
    if len(value) > most:
        raise Invalid(f"More than {most} members.", *path)
    return value


def _members(value: Any, names: set[str], *path: str | int) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise Invalid("An object is expected.", *path)
    if unknown := sorted(value.keys() - names):
        raise Invalid("There is no such field.", *path, unknown[0])
    return value


def _labels(value: Any, name: str) -> list[str]:
    read = [
        _label(each, name, n) for n, each in enumerate(_list(value, LABELS_MAX, name))
    ]
    if not read:
        raise Invalid("At least one label.", name)
    return list(dict.fromkeys(read))


def _value(value: Any, name: str) -> float:
    return _number(value, name)


def _named(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not 0 < len(value) <= OUTPUTS_MAX:
        raise Invalid(f"An object of 1 to {OUTPUTS_MAX} members.", name)
    for key in value:
        _label(key, name, str(key))
    return value


def _values(value: Any, name: str) -> dict[str, float | str]:
    return {
        key: _text(each, LABEL_CHARS, name, key)
        if isinstance(each, str)
        else _number(each, name, key)
        for key, each in _named(value, name).items()
    }


def _series(value: Any, name: str) -> list[float]:
    if not _list(value, STEPS_MAX, name):
        raise Invalid("At least one value.", name)
    return [_number(each, name, n) for n, each in enumerate(value)]


def _boxes(value: Any, name: str) -> list[dict[str, Any]]:
    rows = _list(value, settings.ISTORE_DETECTIONS_MAX, name)
    return [_box(each, name, n) for n, each in enumerate(rows)]


def _box(value: Any, *path: str | int) -> dict[str, Any]:
    if isinstance(value, Mapping) and isinstance(value.get("bbox"), Mapping):
        value = {**value["bbox"], **{k: v for k, v in value.items() if k != "bbox"}}
    is_oriented = isinstance(value, Mapping) and "r" in value
    names = ORIENTED if is_oriented else CORNERS
    given = _members(value, {"label", *names}, *path)
    label = _label(given.get("label"), *path, "label")
    read = {name: _number(given.get(name), *path, name) for name in names}
    if not is_oriented:
        for low, high in (("xmin", "xmax"), ("ymin", "ymax")):
            if read[low] > read[high]:
                raise Invalid(f"{low} is above {high}.", *path, low)
    return {"label": label, **read}


def _polygons(value: Any, name: str) -> list[dict[str, Any]]:
    rows = _list(value, settings.ISTORE_DETECTIONS_MAX, name)
    return [_polygon(each, name, n) for n, each in enumerate(rows)]


def _polygon(value: Any, *path: str | int) -> dict[str, Any]:
    given = _members(value, {"label", "contours"}, *path)
    contours = _list(given.get("contours"), STEPS_MAX, *path, "contours")
    if not contours:
        raise Invalid("At least one contour.", *path, "contours")
    return {
        "label": _label(given.get("label"), *path, "label"),
        "contours": [
            _contour(each, *path, "contours", n) for n, each in enumerate(contours)
        ],
    }


def _contour(value: Any, *path: str | int) -> list[list[float]]:
    points = _list(value, POINTS_MAX, *path)
    if len(points) < 3:
        raise Invalid("A contour has at least three points.", *path)
    return [_point(each, *path, n) for n, each in enumerate(points)]


def _point(value: Any, *path: str | int) -> list[float]:
    if isinstance(value, Mapping):
        value = [value.get("x"), value.get("y")]
    if not isinstance(value, list) or len(value) != 2:
        raise Invalid("A point is [x, y].", *path)
    return [_number(each, *path) for each in value]


def _entities(value: Any, name: str) -> list[dict[str, Any]]:
    rows = _list(value, settings.ISTORE_DETECTIONS_MAX, name)
    return [_entity(each, name, n) for n, each in enumerate(rows)]


def _entity(value: Any, *path: str | int) -> dict[str, Any]:
    given = _members(value, {"label", "start", "end"}, *path)
    for bound in ("start", "end"):
        if type(given.get(bound)) is not int or not 0 <= given[bound] < 2**31:
            raise Invalid("A whole number, from 0.", *path, bound)
    if given["start"] >= given["end"]:
        raise Invalid("end is above start.", *path, "end")
    label = _label(given.get("label"), *path, "label")
    return {"label": label, "start": given["start"], "end": given["end"]}


def _relevance(value: Any, name: str) -> dict[str, float]:
    read = {k: _number(each, name, k) for k, each in _named(value, name).items()}
    if any(each < 0 for each in read.values()):
        raise Invalid("Relevance is not negative.", name)
    return read


def _describe(value: Any, name: str) -> str:
    return _text(value, TRUTH_MAX_BYTES, name)


FORMS: dict[str, Callable[[Any, str], Any]] = {
    "labels": _labels,
    "value": _value,
    "values": _values,
    "series": _series,
    "boxes": _boxes,
    "polygons": _polygons,
    "entities": _entities,
    "relevance": _relevance,
    "text": _describe,
}
