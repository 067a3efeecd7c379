"""The way in: a batch of new inferences becomes rows, in one statement.

The key table decides what is new, over all partitions and for removed inferences
too: what is delivered twice is stored once, and what was removed stays removed.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any

import numpy as np
from django.db import IntegrityError, connection, models, transaction
from django.db.models import F
from django.db.models.functions import Least
from psycopg.errors import UniqueViolation

from inferences.models import (
    ClassProbability,
    Detection,
    Inference,
    InferenceAction,
    InferenceKey,
    InferencePayload,
    MetadataKeyCount,
    OverflowNumber,
    OverflowText,
    RecentEmbedding,
    RegisteredModel,
)
from inferences.models.metadata_values import (
    MetadataValue,
    as_given,
    canonical,
    in_slot,
)
from inferences.models.row_ids import LOW_BITS, ROOM, microseconds
from inferences.real_numbers import REAL_MOST, fits
from inferences.store import metadata_slots
from inferences.store.geo_cells import cell_of
from inferences.store.notes import without_empty_warnings
from istore.api.parsing import write_json
from istore.failpoints import failpoint

ROUNDS = 5  # of looking and writing, while other writers settle the same ids
RETRIES = 3  # with ids drawn anew, before the crowded microseconds are looked at
ATTEMPTS = 20
REAL = struct.Struct("<f")

Scored = tuple[Any, float | None]

# What is written beside new inferences, in their transaction: given their ids.
Also = Callable[[set[str]], None]

# Called in the transaction of the rows that ``awaits_truth`` says may have actuals waiting.
awaited: list[Callable[[RegisteredModel, list[dict[str, Any]]], object]] = []


@dataclass(frozen=True, slots=True)
class NewInference:
    """What a caller hands in.

    ``detections`` are pairs of label and score, which may be None; without any, an empty
    tuple says "ran and found nothing" and None that nothing is known. Where one class is
    the answer they are the distribution: the row's label is the best of them. ``content`` is
    what tells a copy from other content under the same id, beside what is listed in
    ``content_hash``: of a proxied inference the hash of its answer. ``derived`` is
    metadata that the answer says; it is kept with what was given and tells nothing apart.
    ``reservation`` is what the proxy reserved the id with (see reservations.py).
    """

    inference_id: str
    inference_action: InferenceAction
    data_hash: bytes
    created_at: datetime
    data_size: int = 0
    metadata: Sequence[MetadataValue] = ()
    latitude: float | None = None
    longitude: float | None = None
    data_source: str | None = None
    detections: Sequence[tuple[str, float | None]] | None = None
    embedding: Sequence[float] | None = None
    is_protected: bool = False
    data: str = ""
    data_storage_key: str = ""
    data_content_type: str = ""
    answer_storage_key: str = ""
    content: Any = None
    notes: dict[str, Any] = field(default_factory=dict)
    derived: Sequence[MetadataValue] = ()
    reservation: bytes | None = None

    @property
    def kept_metadata(self) -> list[MetadataValue]:
        return [*self.metadata, *self.derived]

    @property
    def content_hash(self) -> bytes:
        said = [
            self.inference_action,
            self.data_hash.hex(),
            self.data_size,
            as_given(list(self.metadata)),
            [self.latitude, self.longitude, self.data_source],
            self.content,
        ]
        return hashlib.sha256(canonical(said)).digest()


class Outcome(Enum):
    """What became of one inference of a batch."""

    NEW = "new"
    COPY = "copy"  # stored before, with the same content
    OTHER = "other"  # the id is taken by other content, or reserved for another call
    REMOVED = "removed"  # the id was removed for good, its tombstone stands


def record(
    model: RegisteredModel, batch: Sequence[NewInference], also: Also | None = None
) -> dict[str, Outcome]:
    """Store what is new, each with all that belongs to it or not at all.

    Returns what became of each inference id; of a batch that names one id twice the
    first is stored. ``also`` is called with the new ids in the transaction that stores
    them, and when it raises nothing is stored. Must not be called inside a transaction:
    a metadata key or a label that is met for the first time is committed before.
    """
    first: dict[str, NewInference] = {}
    for new in batch:
        first.setdefault(new.inference_id, new)
    found: dict[str, Outcome] = {}
    rest = list(first.values())
    for _ in range(ROUNDS):
        # Looking first decides nothing, the key table does; it makes a redelivery cheap.
        found |= _met_before(model, rest)
        rest = [new for new in rest if new.inference_id not in found]
        if not rest:
            return found
        stored = _write_until_it_fits(model, _rows(model, rest), also)
        found |= dict.fromkeys(stored, Outcome.NEW)
        # What is left met a key of another writer. It may be gone by now (a reservation
        # that was given back, a tombstone that was freed): then the id is written anew.
        rest = [new for new in rest if new.inference_id not in stored]
    raise RuntimeError(f"The ids of {len(rest)} inferences change hands all the time.")


def _rows(model: RegisteredModel, batch: list[NewInference]) -> list[dict[str, Any]]:
    kept = (value for new in batch for value in new.kept_metadata)
    keys = {key for value in kept for key in value.comparable}
    places = metadata_slots.places_for(model, keys)
    words = {in_slot(label) for new in batch for label, _ in new.detections or ()}
    labels = metadata_slots.labels.numbers_for(model, words)
    named = {in_slot(new.data_source) for new in batch if new.data_source}
    sources = metadata_slots.sources.numbers_for(model, named)
    of_one = model.answers_one_class
    return [_row(new, places, labels, sources, of_one) for new in batch]


def _row(
    new: NewInference,
    places: metadata_slots.Places,
    labels: dict[str, int],
    sources: dict[str, int],
    of_one_class: bool,
) -> dict[str, Any]:
    stored = [
        (places[key], value)
        for each in new.kept_metadata
        for key, value in each.comparable.items()
    ]
    named = [(labels[in_slot(n)], _real(score)) for n, score in new.detections or ()]
    detections = best_of(named) if of_one_class else named
    scores = [score for _, score in detections if score is not None]
    located = new.latitude is not None and new.longitude is not None
    found = new.detections is not None
    is_distributed = found and of_one_class
    return {
        "created_us": microseconds(new.created_at),
        "inference_id": new.inference_id,
        "inference_action": new.inference_action,
        "version": 1,
        "data_hash": rf"\x{new.data_hash.hex()}",
        "data_size": new.data_size,
        "is_protected": new.is_protected,
        "deleted": False,
        "latitude": new.latitude,
        "longitude": new.longitude,
        "area_cell": cell_of(new.latitude, new.longitude) if located else None,
        "source_id": sources[in_slot(new.data_source)] if new.data_source else None,
        "labels": [label for label, _ in detections] if found else None,
        "scores": [score for _, score in detections] if found else None,
        "classes": [label for label, _ in named] if is_distributed else None,
        "probabilities": [score for _, score in named] if is_distributed else None,
        "top_score": max(scores, default=None),
        "low_score": min(scores, default=None),
        "vector": _vector(new.embedding),
        "metadata": as_given(new.kept_metadata),
        "data": new.data,
        "data_storage_key": new.data_storage_key,
        "data_content_type": new.data_content_type,
        "answer_storage_key": new.answer_storage_key,
        "content_hash": rf"\x{new.content_hash.hex()}",
        "reservation": rf"\x{new.reservation.hex()}" if new.reservation else None,
        "notes": without_empty_warnings(new.notes) or None,
        "overflow": [
            {"key_id": place.key_id, place.side: value}
            for place, value in stored
            if not place.slot
        ],
        **{place.slot: value for place, value in stored if place.slot},
    }


def best_of(classes: Sequence[Scored]) -> list[Scored]:
    """The best class alone, the first of equals; one without a score is the last."""
    scores = [-math.inf if score is None else score for _, score in classes]
    return [classes[scores.index(max(scores))]] if scores else []


def _real(score: float | None) -> float | None:
    """The score as four bytes hold it: PostgreSQL refuses what it would have to round.

    Callers have refused what does not fit; what comes all the same is an error.
    """
    if score is None:
        return None
    if not fits(score):
        raise ValueError(f"The score {score!s:.40} does not fit four bytes.")
    (rounded,) = REAL.unpack(REAL.pack(score))
    return rounded


def _vector(embedding: Sequence[float] | None) -> list[float] | None:
    if embedding is None:
        return None
    wide = np.asarray(embedding, np.float64)
    if not np.all(np.abs(wide) <= REAL_MOST):
        raise ValueError("The embedding has numbers that do not fit four bytes.")
    return wide.astype(np.float32).tolist()


def _write_until_it_fits(
    model: RegisteredModel, rows: list[dict[str, Any]], also: Also | None
) -> set[str]:
    for attempt in range(ATTEMPTS):
        if attempt >= RETRIES:
            _make_room(model, rows)
        lowest = min(row["created_us"] for row in rows) << LOW_BITS
        try:
            stored = _write(model, rows, lowest, also)
        except IntegrityError as error:
            # Two rows of one microsecond drew the same low bits: let them draw again.
            if (
                not isinstance(error.__cause__, UniqueViolation)
                or attempt == ATTEMPTS - 1
            ):
                raise
            continue
        if stored is not None:
            return stored
        lower_bounds(model, lowest)
    raise RuntimeError(f"{model} moves its bounds faster than a batch is written.")


@transaction.atomic
def _write(
    model: RegisteredModel, rows: list[dict[str, Any]], lowest: int, also: Also | None
) -> set[str] | None:
    """The inference ids that are new; None when a bound of the model has to move first."""
    with connection.cursor() as cursor:
        cursor.execute(
            WRITE, {"model": model.pk, "lowest": lowest, "rows": write_json(rows)}
        )
        answered = dict(cursor.fetchall())
    if None not in answered:
        return None
    awaits_truth = answered.pop(None)
    stored = set(answered)
    if awaits_truth and stored:
        arrived = [row for row in rows if row["inference_id"] in stored]
        for give_truths in awaited:
            give_truths(model, arrived)
    if also:
        also(set(stored))
    failpoint("recording.written")
    return stored


@transaction.atomic
def lower_bounds(model: RegisteredModel, lowest: int) -> None:
    """An inference older than any that lives: pages and sweeps must begin before it."""
    row = RegisteredModel.objects.select_for_update().filter(pk=model.pk)
    if not row.exists():
        raise RegisteredModel.DoesNotExist(f"{model} was removed.")
    row.update(
        first_id=Least(F("first_id"), lowest),
        blob_gone_before=Least(F("blob_gone_before"), lowest),
    )


def _make_room(model: RegisteredModel, rows: list[dict[str, Any]]) -> None:
    """Give the rows of crowded microseconds ids that are free, moving on where none is."""
    waiting: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        waiting.setdefault(row["created_us"], []).append(row)
    while waiting:
        moment = min(waiting)
        here = waiting.pop(moment)
        lower = moment << LOW_BITS
        taken = set(
            model.inferences.filter(id__range=(lower, lower | ROOM - 1)).values_list(
                "id", flat=True
            )
        )
        free = [lower | low for low in range(ROOM) if lower | low not in taken]
        for row, row_id in zip(here, free, strict=False):
            row |= {"created_us": moment, "given_id": row_id}
        if left := here[len(free) :]:
            waiting.setdefault(moment + 1, [])[:0] = left


def _met_before(
    model: RegisteredModel, batch: list[NewInference]
) -> dict[str, Outcome]:
    if not batch:
        return {}
    names = [new.inference_id for new in batch]
    with connection.cursor() as cursor:
        cursor.execute(MET, {"model": model.pk, "names": names})
        met = {name: state for name, *state in cursor}
    found = {}
    for new in batch:
        if new.inference_id not in met:
            continue
        removed_at, has_row, reservation, content = met[new.inference_id]
        is_same_call = reservation is not None and bytes(reservation) == new.reservation
        if not has_row:
            if not is_same_call:
                found[new.inference_id] = Outcome.OTHER
            continue
        # What was promised to a call is true of it, even if a newer version of the store
        # reads its content in another way.
        same = content is not None and bytes(content) == new.content_hash
        kind = Outcome.COPY if same or is_same_call else Outcome.OTHER
        found[new.inference_id] = Outcome.REMOVED if removed_at else kind
    return found


def _columns(table: type[models.Model], *without: str) -> dict[str, str]:
    fields = table._meta.concrete_fields
    types = {column.column: column.db_type(connection) for column in fields}
    return {name: kind for name, kind in types.items() if name not in without}


HOT = _columns(Inference, "id", "model_key")
COLD = _columns(InferencePayload, "id", "model_key", "input_expired_at")
EXTRA = {
    "created_us": "bigint",
    "given_id": "bigint",
    "vector": "vector",
    "overflow": "json",
    "reservation": "bytea",
}
GIVEN = HOT | COLD | EXTRA


def _table(table: type[models.Model]) -> str:
    return table._meta.db_table


def _list(columns: dict[str, str], prefix: str = "") -> str:
    return ", ".join(f"{prefix}{name}" for name in columns)


WRITE = f"""
WITH held AS MATERIALIZED (  -- what is read from the model holds until the commit
    SELECT id AS model_key, awaits_truth FROM {_table(RegisteredModel)}
    WHERE id = %(model)s AND first_id <= %(lowest)s AND blob_gone_before <= %(lowest)s
    FOR SHARE
), given AS MATERIALIZED (
    SELECT held.model_key, given.*,
           coalesce(given_id, (created_us << {LOW_BITS})
                    | (nextval('inferences_row') & {ROOM - 1})) AS id
    FROM held, json_to_recordset(%(rows)s) AS given
         ({", ".join(f"{name} {kind}" for name, kind in GIVEN.items())})
), new AS (  -- in sorted order: two deliveries of the same rows cannot deadlock
    INSERT INTO {_table(InferenceKey)} AS taken (
        model_key, inference_id, row_id, reservation)
    SELECT model_key, inference_id, id, reservation FROM given ORDER BY inference_id
    -- An id that was reserved for this very call. Its arrival is drawn here, too: the
    -- batch has its share of the model row, which the reservation did not need.
    ON CONFLICT (model_key, inference_id) DO UPDATE
    SET row_id = excluded.row_id, arrival = excluded.arrival, reserved_at = NULL
    WHERE taken.row_id IS NULL AND taken.reservation = excluded.reservation
    RETURNING model_key, inference_id, row_id AS id
), stored AS (
    INSERT INTO {_table(Inference)} (id, model_key, {_list(HOT)})
    SELECT given.id, given.model_key, {_list(HOT, "given.")}
    FROM given JOIN new USING (model_key, id)
), payload AS (
    INSERT INTO {_table(InferencePayload)} (id, model_key, {_list(COLD)})
    SELECT given.id, given.model_key, {_list(COLD, "given.")}
    FROM given JOIN new USING (model_key, id)
), detected AS (
    INSERT INTO {_table(Detection)} (id, model_key, label_id, score)
    SELECT id, model_key, each.label, each.score
    FROM given JOIN new USING (model_key, id), unnest(labels, scores) AS each (label, score)
), distributed AS (
    INSERT INTO {_table(ClassProbability)} (id, model_key, label_id, score)
    SELECT id, model_key, each.label, each.score
    FROM given JOIN new USING (model_key, id),
         unnest(classes, probabilities) AS each (label, score)
), embedded AS (
    INSERT INTO {_table(RecentEmbedding)} (id, model_key, vector)
    SELECT id, model_key, vector FROM given JOIN new USING (model_key, id)
    WHERE vector IS NOT NULL
), beside AS (
    SELECT id, model_key, side.* FROM given JOIN new USING (model_key, id),
         json_to_recordset(overflow) AS side (key_id integer, text text, number float8)
), texts AS (
    INSERT INTO {_table(OverflowText)} (id, model_key, key_id, value)
    SELECT id, model_key, key_id, text FROM beside WHERE text IS NOT NULL
), numbers AS (
    INSERT INTO {_table(OverflowNumber)} (id, model_key, key_id, value)
    SELECT id, model_key, key_id, number FROM beside WHERE number IS NOT NULL
), counted AS (  -- metadata is {{key: [type, text]}}
    INSERT INTO {_table(MetadataKeyCount)} (model_key, key, type, delta)
    SELECT %(model)s, each.key, each.value ->> 0, count(*)
    FROM given JOIN new USING (model_key, id), jsonb_each(metadata) AS each GROUP BY 2, 3
)
SELECT inference_id, NULL FROM new UNION ALL SELECT NULL, awaits_truth FROM held
"""
# A look at the key for each name. As a list of names the planner may read all keys of the
# model instead, while it has no statistics of a table that was just filled.
MET = f"""
SELECT name, met.removed_at, met.row_id IS NOT NULL, met.reservation, kept.content_hash
FROM unnest(%(names)s::varchar[]) AS name
CROSS JOIN LATERAL (
    SELECT row_id, removed_at, reservation FROM {_table(InferenceKey)}
    WHERE model_key = %(model)s AND inference_id = name OFFSET 0
) AS met
LEFT JOIN LATERAL (
    SELECT content_hash FROM {_table(InferencePayload)}
    WHERE model_key = %(model)s AND id = met.row_id OFFSET 0
) AS kept ON met.removed_at IS NULL
"""
