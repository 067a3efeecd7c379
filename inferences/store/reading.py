"""Read rows by their ids: the narrow rows, and the payloads of one page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
from django.db import connection

from inferences.models import (
    SLOTS,
    Inference,
    InferenceKey,
    InferencePayload,
    RegisteredModel,
    SourceName,
)
from istore.db.compiled_queries import Columns

SOURCES_REMEMBERED = 10_000
_sources: dict[int, SourceName] = {}
# Columns that only filters read: nearly half of the row's columns.
_FILTERED = {"area_cell"}.union(*SLOTS.values())
_HOT = Columns(Inference, "row", _FILTERED)
_COLD = Columns(InferencePayload, "cold")
_JSON = [_COLD.names.index("metadata"), _COLD.names.index("notes")]
# One statement for both tables: planning over all partitions costs as much as reading.
ROWS = (
    f" FROM {Inference._meta.db_table} AS row"
    f" JOIN {InferencePayload._meta.db_table} AS cold"
    " ON cold.model_key = %(model)s AND cold.id = row.id"
    " AND cold.id = ANY(%(ids)s::bigint[])"
    " WHERE row.model_key = %(model)s AND row.id = ANY(%(ids)s::bigint[])"
    " AND NOT row.deleted"
)
FETCH = f"SELECT {_HOT.sql}, {_COLD.sql}{ROWS}"

FIND = (
    f"SELECT row_id FROM {InferenceKey._meta.db_table} WHERE model_key = %(model)s"
    " AND inference_id = %(name)s AND removed_at IS NULL AND row_id IS NOT NULL"
)


def fetch(model: RegisteredModel, ids: Sequence[int]) -> list[Inference]:
    """Return the live inferences with these ids, in this order, each with its ``payload``."""
    if not ids:
        return []
    found = {row.id: row for row in map(_inference, read_rows(FETCH, model, ids))}
    page = [found[row_id] for row_id in ids if row_id in found]
    _name(model, page)
    return page


def read_rows(
    statement: str, model: RegisteredModel, ids: Sequence[int]
) -> list[tuple[Any, ...]]:
    """Return what a SELECT of columns of ``ROWS`` gives for these ids, in any order."""
    named = f"{{{','.join(map(str, ids))}}}"  # psycopg would quote each number
    with connection.cursor() as cursor:
        cursor.execute(statement, {"model": model.pk, "ids": named})
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def _inference(values: Sequence[Any]) -> Inference:
    cold = list(values[len(_HOT) :])
    for place in _JSON:
        cold[place] = cold[place] and orjson.loads(cold[place])
    inference = _HOT.build(values)
    inference.payload = _COLD.build(cold)
    return inference


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
    sources = find_sources(each.source_id for each in page)
    for inference in page:
        # As the descriptors of the fields do, which cost ten times as much.
        related = inference._state.fields_cache
        related["registered_model"] = model
        number = inference.source_id
        related["source"] = sources[number] if number else None


def find_sources(numbers: Iterable[int | None]) -> Mapping[int, SourceName]:
    """Return the data sources of these numbers, and perhaps others."""
    global _sources
    wanted, known = {number for number in numbers if number}, _sources
    if missing := wanted - known.keys():
        # A source never changes, so it is cached. A full cache is left to the threads that read it.
        if len(known) > SOURCES_REMEMBERED:
            known, missing = {}, wanted
        _sources = known = known | SourceName.objects.in_bulk(missing)
    return known


def find_inference(model: RegisteredModel, inference_id: str) -> Inference | None:
    """Return the live inference with its payload, or None."""
    with connection.cursor() as cursor:
        cursor.execute(FIND, {"model": model.pk, "name": inference_id})
        key = cursor.fetchone()
    found = fetch(model, key) if key else []
    return found[0] if found else None
