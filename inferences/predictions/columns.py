"""Answers and ground truths as values by the columns of their model type."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from inferences.predictions.geometry import geometry_of
from inferences.predictions.model_types import type_of, type_of_content
from inferences.predictions.model_types.base import Column
from inferences.predictions.parsers.values import Deconstructed, Detection

BOXED = frozenset({"xmin", "cx"})  # a box of either form has one of these keys
# The columns of ground truth, by its forms.
FORMS = {
    column.name: column
    for column in (
        Column("labels", "[str]"),
        Column("value", "float"),
        Column("values", "json"),
        Column("series", "[float]"),
        Column("boxes", "json"),
        Column("polygons", "json"),
        Column("entities", "json"),
        Column("relevance", "json"),
        Column("text", "str"),
    )
}


def values_of(task_type: str, found: Deconstructed) -> dict[str, Any]:
    """Return the values of one answer by the prediction's columns; absent values are left out."""
    wanted = type_of(task_type).names
    rows = sorted(found.detections, key=lambda one: -(one.score or 0))
    filled: dict[str, Any] = {}
    if rows:
        filled["label"], filled["score"] = rows[0].label, rows[0].score
        filled["labels"] = filled["ranking"] = [one.label for one in rows]
        filled["scores"] = [one.score for one in rows]
    shaped = [row for one in rows if (row := _shape(one))]
    if shaped:
        filled["boxes" if BOXED & shaped[0].keys() else "polygons"] = shaped
    elif found.understood and not rows:  # the model ran and found nothing
        filled["boxes"] = filled["polygons"] = []
        filled["labels"] = filled["scores"] = filled["ranking"] = []
    filled |= type_of_content(found.content).values(found.content)
    return {n: v for n, v in filled.items() if n in wanted and v is not None}


def prediction_of(task_type: str, found: Deconstructed) -> dict[str, Any]:
    """Return the values as ``values_of`` does; columns of type ``json`` hold JSON text."""
    in_json = {
        column.name for column in type_of(task_type).columns if column.type == "json"
    }
    return {
        name: _write(value) if name in in_json else value
        for name, value in values_of(task_type, found).items()
    }


def actual_of(task_type: str, truth: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of one ground truth, under the names of the prediction's columns."""
    filled = {
        name: _write(value) if name in FORMS and FORMS[name].type == "json" else value
        for name, value in truth.items()
    }
    if labels := filled.get("labels"):
        filled["label"] = labels[0]
    if "relevance" in truth:
        relevance = truth["relevance"]
        filled["ranking"] = sorted(relevance, key=relevance.get, reverse=True)
    wanted = {*type_of(task_type).names, *type_of(task_type).forms, "label", "score"}
    return {name: value for name, value in filled.items() if name in wanted}


def _shape(one: Detection) -> dict[str, Any] | None:
    geometry = geometry_of(one.shape)
    return {"label": one.label, "score": one.score, **geometry} if geometry else None


def _write(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
