"""Read rows by their ids: the narrow rows, and the payloads of one page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import orjson
from django.db import connection, models
from django.db.models.base import ModelState

from inferences.models import (
    SLOTS,
    Inference,
    InferenceKey,
    InferencePayload,
    RegisteredModel,
    SourceName,
)

M = TypeVar("M", bound=models.Model)

SOURCES_REMEMBERED = 10_000
_sources: dict[int, SourceName] = {}
# Columns that only filters read: nearly half of the row's columns.
_FILTERED = {"area_cell"}.union(*SLOTS.values())
_FIELDS = [
    field for field in Inference._meta.concrete_fields if field.attname not in _FILTERED
]
_NARROW = [field.attname for field in _FIELDS]
_COLD = [field.attname for field in InferencePayload._meta.concrete_fields]
_JSON = [_COLD.index("metadata"), _COLD.index("notes")]
# One statement for both tables: planning over all partitions costs as much as reading.
FETCH = (
    "SELECT "
    + ", ".join(f"row.{field.column}" for field in _FIELDS)
    + ", "
    + ", ".join(
        f"cold.{each.column}" for each in InferencePayload._meta.concrete_fields
    )
    + f" FROM {Inference._meta.db_table} AS row"
    f" JOIN {InferencePayload._meta.db_table} AS cold"
    " ON cold.model_key = %(model)s AND cold.id = row.id"
    " AND cold.id = ANY(%(ids)s::bigint[])"
    " WHERE row.model_key = %(model)s AND row.id = ANY(%(ids)s::bigint[])"
    " AND NOT row.deleted"
)

FIND = (
    f"SELECT row_id FROM {InferenceKey._meta.db_table} WHERE model_key = %(model)s"
    " AND inference_id = %(name)s AND removed_at IS NULL AND row_id IS NOT NULL"
)


def fetch(model: RegisteredModel, ids: Sequence[int]) -> list[Inference]:
    """Return the live inferences with these ids, in this order, each with its ``payload``."""
    if not ids:
        return []
    with connection.cursor() as cursor:
        named = f"{{{','.join(map(str, ids))}}}"  # psycopg would quote each number
        cursor.execute(FETCH, {"model": model.pk, "ids": named})
        rows = [_inference(row) for row in cursor.fetchall()]
    found = {row.id: row for row in rows}
    page = [found[row_id] for row_id in ids if row_id in found]
    _name(model, page)
    return page


def _inference(values: Sequence[Any]) -> Inference:
    cold = list(values[len(_NARROW) :])
    for place in _JSON:
        cold[place] = cold[place] and orjson.loads(cold[place])
    inference = _instance(Inference, _NARROW, values)
    inference.payload = _instance(InferencePayload, _COLD, cold)
    return inference


def _instance(kind: type[M], names: Sequence[str], values: Sequence[Any]) -> M:
    """Return a model instance as ``from_db`` does, without signals.

    It takes a third of the time, and a page of fifty makes a hundred instances.
    """
    instance = kind.__new__(kind)
    instance._state = state = ModelState()
    state.adding, state.db = False, "default"
    instance.__dict__.update(zip(names, values, strict=False))
    return instance


def join_payloads(model: RegisteredModel, page: Sequence[Inference]) -> list[Inference]:
    """Set the ``payload`` of each inference; the cold rows are read for one page only.

    Returns the inferences that have one: a removal may come between.
    """
    rows = InferencePayload.objects.beside(model)
    payloads = {row.id: row for row in rows.filter(id__in=[each.id for each in page])}
    page = [each for each in page if each.id in payloads]
    for inference in page:
        inference.payload = payloads[inference.id]
    _name(model, page)
    return page


def _name(model: RegisteredModel, page: Sequence[Inference]) -> None:
    """Set the model and the data source of each inference."""
    numbers = {each.source_id for each in page} - {None}
    if missing := numbers - _sources.keys():
        # A source never changes, so it is cached.
        if len(_sources) > SOURCES_REMEMBERED:
            _sources.clear()
            missing = numbers
        _sources.update(SourceName.objects.in_bulk(missing))
    for inference in page:
        # As the descriptors of the fields do, which cost ten times as much.
        related = inference._state.fields_cache
        related["registered_model"] = model
        number = inference.source_id
        related["source"] = _sources[number] if number else None


def find_inference(model: RegisteredModel, inference_id: str) -> Inference | None:
    """Return the live inference with its payload, or None."""
    with connection.cursor() as cursor:
        cursor.execute(FIND, {"model": model.pk, "name": inference_id})
        key = cursor.fetchone()
    found = fetch(model, key) if key else []
    return found[0] if found else None
