"""Insert a batch of new inferences, in one statement.

The key table decides what is new, over all partitions and for removed inferences too. So
what is delivered twice is stored once, and what was removed stays removed.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
from django.db import IntegrityError, connection, models, transaction
from django.db.models import F
from django.db.models.functions import Least
from psycopg.errors import UniqueViolation

from inferences.models import (
    SLOTS,
    ClassProbability,
    Detection,
    Inference,
    InferenceAction,
    InferenceKey,
    InferencePayload,
    InferenceText,
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
from inferences.store import metadata_slots, text_indexing
from inferences.store.geo_cells import cell_of
from inferences.store.notes import WARNINGS, warnings_of, without_empty_warnings
from inferences.store.segment_touches import touches_of
from istore.failpoints import failpoint
from istore.hooks import Hook
from istore.models import AuditEntry

ROUNDS = 5  # of reading and writing, while other writers hold the same ids
RETRIES = 3  # with new low bits, before ``_make_room`` reads which ids are taken
ATTEMPTS = 20
REAL = struct.Struct("<f")

Scored = tuple[Any, float | None]
Reals = npt.NDArray[np.float32]

# A hook that writes more in the transaction of new inferences; it is given their ids.
Also = Callable[[set[str]], None]

# Joins waiting ground truth. It is called in the transaction of the new rows, for models whose
# ``awaits_truth`` is set, with the model and the rows.
truth_joins: Hook[Callable[[RegisteredModel, list[dict[str, Any]]], object]] = Hook()


@dataclass(frozen=True, slots=True)
class NewInference:
    """One inference that a caller asks to store.

    ``detections`` are pairs of label and score; a score may be None. An empty tuple means
    that the model ran and found nothing, None that nothing is known. For a model whose
    answer is one class they are the distribution, and the row's label is the best of them.
    ``content`` tells a duplicate from other content under the same id, together with the
    fields in ``content_hash``: for a proxied inference it is the hash of its answer.
    ``derived`` is metadata read from the answer; it is stored beside the given metadata and
    is not part of the content hash. ``reservation`` is the digest with which the proxy
    reserved the id (see ``reservations``).
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
    # The text of the request, where the caller has it: else it is read for the search.
    request: str | None = None

    @property
    def kept_metadata(self) -> list[MetadataValue]:
        """The metadata that is stored: what was given, and what was derived from the answer."""
        return [*self.metadata, *self.derived]

    @property
    def content_hash(self) -> bytes:
        """The SHA-256 by which a repeat of the same inference is recognised."""
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
    """The result for one inference of a batch."""

    NEW = "new"
    COPY = "copy"  # stored before, with the same content
    OTHER = "other"  # the id is taken by other content, or reserved for another call
    REMOVED = "removed"  # the id was removed for good, its tombstone stands


def record(
    model: RegisteredModel, batch: Sequence[NewInference], also: Also | None = None
) -> dict[str, Outcome]:
    """Store the new inferences of a batch, each completely or not at all.

    Returns the outcome of each inference id. When a batch names an id twice, the first is
    stored. ``also`` is called with the new ids in the transaction that stores them; when it
    raises, none of these is stored. A batch has one transaction, unless its texts are too long
    to be indexed together, or ids change hands. ``record`` must not be called inside a
    transaction: new metadata keys and labels are committed before the rows. Raises
    ``RuntimeError`` when other writers keep taking and freeing the same ids.
    """
    first: dict[str, NewInference] = {}
    for new in batch:
        first.setdefault(new.inference_id, new)
    found: dict[str, Outcome] = {}
    rest = list(first.values())
    for _ in range(ROUNDS):
        # This read decides nothing, the insert into the key table does. It makes a
        # redelivery cheap.
        found |= met_before(model, rest)
        rest = [new for new in rest if new.inference_id not in found]
        if not rest:
            return found
        stored: set[str] = set()
        for portion in _portions(model, rest):
            stored |= _write_until_it_fits(model, _rows(model, portion), also)
        found |= dict.fromkeys(stored, Outcome.NEW)
        # The rest conflicted with keys of other writers. Such a key may be gone by now (a
        # released reservation, a purged tombstone): then the next round writes the id.
        rest = [new for new in rest if new.inference_id not in stored]
    raise RuntimeError(f"The ids of {len(rest)} inferences change hands all the time.")


def record_alone(
    model: RegisteredModel, new: NewInference, actor: object, action: str
) -> int | None:
    """Store an inference with its audit entry by one statement, if nothing is out of the ordinary.

    Returns its row id. None: nothing was stored, and ``record`` has to look at it. The id may
    be taken, a metadata key or label may be new, ground truth may wait for it, a low watermark
    may have to move.
    """
    if not _knows_words(model, new):
        return None
    (row,) = _rows(model, [new])
    values = {
        "model": model.pk,
        "lowest": row["created_us"] << LOW_BITS,
        "joins": False,
        "rows": _write_rows([row]),
        "project": model.project_id,
        "actor": str(actor)[:300],
        "action": action,
    }
    try:
        with connection.cursor() as cursor:
            cursor.execute(_statement(_given_by([row]), END_ALONE), values)
            stored = cursor.fetchone()
    except IntegrityError as error:
        if not isinstance(error.__cause__, UniqueViolation):
            raise
        return None  # its low bits are taken in this microsecond
    return int(stored[0]) if stored else None


def _knows_words(model: RegisteredModel, new: NewInference) -> bool:
    """Return whether the model has all metadata keys, labels and sources of an inference."""
    return metadata_slots.are_known(
        model,
        {key for value in new.kept_metadata for key in value.comparable},
        {in_slot(label) for label, _ in new.detections or ()},
        {in_slot(new.data_source)} if new.data_source else set(),
    )


def _portions(
    model: RegisteredModel, batch: list[NewInference]
) -> Iterator[list[NewInference]]:
    """Split a batch whose texts do not fit into memory together."""
    if not text_indexing.is_searched(model):
        yield batch
        return
    for portion in text_indexing.portions([(new, _source_of(new)) for new in batch]):
        yield [new for new, _ in portion]


def _source_of(new: NewInference) -> text_indexing.TextSource:
    return text_indexing.TextSource(
        data=new.data,
        answer_key=new.answer_storage_key,
        input_key=new.data_storage_key,
        content_type=new.data_content_type,
        notes=new.notes,
        input_size=new.data_size,
        request=new.request,
    )


def _rows(model: RegisteredModel, batch: list[NewInference]) -> list[dict[str, Any]]:
    """Return the rows of a batch in the form that ``_statement`` reads."""
    kept = (value for new in batch for value in new.kept_metadata)
    keys = {key for value in kept for key in value.comparable}
    places = metadata_slots.places_for(model, keys)
    words = {in_slot(label) for new in batch for label, _ in new.detections or ()}
    labels = metadata_slots.labels.numbers_for(model, words)
    named = {in_slot(new.data_source) for new in batch if new.data_source}
    sources = metadata_slots.sources.numbers_for(model, named)
    of_one = model.answers_one_class
    rows = [_row(new, places, labels, sources, of_one) for new in batch]
    if text_indexing.is_searched(model):
        texts = text_indexing.rows_of(model, map(_source_of, batch))
        for new, row, searched in zip(batch, rows, texts, strict=True):
            row["texts"] = searched
            if text_indexing.is_cut(_source_of(new)):
                said = [*warnings_of(row["notes"] or {}), text_indexing.CUT]
                row["notes"] = {**(row["notes"] or {}), WARNINGS: said}
    return rows


def _row(
    new: NewInference,
    places: metadata_slots.Places,
    labels: dict[str, int],
    sources: dict[str, int],
    of_one_class: bool,
) -> dict[str, Any]:
    """Return one row as ``_statement`` reads it: the columns of both tables, and values for side rows."""
    stored = [
        (places[key], value)
        for each in new.kept_metadata
        for key, value in each.comparable.items()
    ]
    named = [(labels[in_slot(n)], _real(score)) for n, score in new.detections or ()]
    detections = best_of(named) if of_one_class else named
    scores = [score for _, score in detections if score is not None]
    cell = None
    if new.latitude is not None and new.longitude is not None:
        cell = cell_of(new.latitude, new.longitude)
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
        "area_cell": cell,
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
        ]
        or None,
        **{place.slot: value for place, value in stored if place.slot},
    }


def best_of(classes: Sequence[Scored]) -> list[Scored]:
    """Return a list of the best class, or an empty one if there are no classes.

    Of equal scores the first wins; a class without a score ranks last.
    """
    scores = [-math.inf if score is None else score for _, score in classes]
    return [classes[scores.index(max(scores))]] if scores else []


def _real(score: float | None) -> float | None:
    """Return the score rounded to four bytes.

    PostgreSQL refuses a value that it would have to round. Raises ``ValueError`` for a
    score that does not fit. Callers check this before.
    """
    if score is None:
        return None
    if not fits(score):
        raise ValueError(f"The score {score!s:.40} does not fit four bytes.")
    rounded: float = REAL.unpack(REAL.pack(score))[0]
    return rounded


def _vector(embedding: Sequence[float] | None) -> Reals | None:
    """Return the embedding rounded to four bytes. Raises ``ValueError`` if it does not fit."""
    if embedding is None:
        return None
    wide = np.asarray(embedding, np.float64)
    if not np.all(np.abs(wide) <= REAL_MOST):
        raise ValueError("The embedding has numbers that do not fit four bytes.")
    return wide.astype(np.float32)


def _write_rows(rows: list[dict[str, Any]]) -> str:
    """Return the rows as JSON, vectors with the few digits that tell four-byte floats apart.

    As eight-byte floats they are nearly twice as long, to be quoted, sent and parsed.
    """
    try:
        return orjson.dumps(rows, option=orjson.OPT_SERIALIZE_NUMPY).decode()
    except TypeError:  # a whole number beyond 64 bits
        return json.dumps(rows, separators=(",", ":"), default=np.ndarray.tolist)


def _write_until_it_fits(
    model: RegisteredModel, rows: list[dict[str, Any]], also: Also | None
) -> set[str]:
    """Write the rows, again while row ids collide or a low watermark must move first.

    Returns the inference ids that are new.
    """
    for attempt in range(ATTEMPTS):
        if attempt >= RETRIES:
            _make_room(model, rows)
        lowest = min(row["created_us"] for row in rows) << LOW_BITS
        try:
            stored = _write(model, rows, lowest, also)
        except IntegrityError as error:
            # Two rows of one microsecond drew the same 12 low bits: draw again.
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
    """Return the inference ids that are new, or None if a low watermark must move first."""
    values: dict[str, Any] = {
        "model": model.pk,
        "lowest": lowest,
        "joins": True,
        "rows": _write_rows(rows),
    }
    with connection.cursor() as cursor:
        cursor.execute(_statement(_given_by(rows), END_OF_BATCH), values)
        answered = dict(cursor.fetchall())
    if None not in answered:
        return None
    awaits_truth = answered.pop(None)
    stored = set(answered)
    if awaits_truth and stored:
        arrived = [row for row in rows if row["inference_id"] in stored]
        for join in truth_joins.values():
            join(model, arrived)
    if also:
        also(set(stored))
    failpoint("recording.written")
    return stored


@transaction.atomic
def lower_bounds(model: RegisteredModel, lowest: int) -> None:
    """Lower the watermarks of the model to this row id, before an older inference is stored.

    Pages and sweeps start at these watermarks, so they would miss a row below them. Raises
    ``RegisteredModel.DoesNotExist`` when the model was removed.
    """
    row = RegisteredModel.objects.select_for_update().filter(pk=model.pk)
    if not row.exists():
        raise RegisteredModel.DoesNotExist(f"{model} was removed.")
    row.update(
        first_id=Least(F("first_id"), lowest),
        blob_gone_before=Least(F("blob_gone_before"), lowest),
    )


def _make_room(model: RegisteredModel, rows: list[dict[str, Any]]) -> None:
    """Give the rows of crowded microseconds free ids.

    A row for which its microsecond has no free id gets one of the next microsecond.
    """
    waiting: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        waiting.setdefault(row["created_us"], []).append(row)
    while waiting:
        moment = min(waiting)
        here = waiting.pop(moment)
        lower = moment << LOW_BITS
        # Read without a lock: another writer may take an id meanwhile, and the write is
        # repeated.
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


def met_before(
    model: RegisteredModel, batch: Sequence[NewInference]
) -> dict[str, Outcome]:
    """Return the outcomes of the ids that the key table already has.

    An id that is reserved for this very call has no outcome yet: it is still to be stored.
    """
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
        # The same call is a copy, even if a newer version of the store reads its content
        # in another way.
        same = content is not None and bytes(content) == new.content_hash
        kind = Outcome.COPY if same or is_same_call else Outcome.OTHER
        found[new.inference_id] = Outcome.REMOVED if removed_at else kind
    return found


def _columns(table: type[models.Model], *without: str) -> dict[str, str]:
    fields = table._meta.concrete_fields
    types = {str(field.column): str(field.db_type(connection)) for field in fields}
    return {name: kind for name, kind in types.items() if name not in without}


HOT = _columns(Inference, "id", "model_key")
COLD = _columns(InferencePayload, "id", "model_key", "input_expired_at")
EXTRA = {
    "created_us": "bigint",
    "given_id": "bigint",
    "vector": "vector",
    "overflow": "json",
    "texts": "json",
    "reservation": "bytea",
}
# What many batches have nothing of: such columns and tables are left out of the statement,
# which takes a sixth of its time.
OPTIONAL = frozenset(
    (*chain(*SLOTS.values()), "classes", "vector", "overflow", "texts")
)


def _table(table: type[models.Model]) -> str:
    return table._meta.db_table


def _list(columns: dict[str, str], prefix: str = "") -> str:
    return ", ".join(f"{prefix}{name}" for name in columns)


def _given_by(rows: list[dict[str, Any]]) -> frozenset[str]:
    """Return the optional columns of which at least one row has a value."""
    named = OPTIONAL.intersection(chain.from_iterable(rows))
    return frozenset(
        name for name in named if any(row.get(name) is not None for row in rows)
    )


@lru_cache(maxsize=1024)
def _statement(given: frozenset[str], end: str) -> str:
    """Return the statement that writes a whole batch, with these of the optional columns.

    ``held`` is empty when a watermark is above the lowest id, or the model was removed. Then
    nothing is written, and the result has no row with a NULL id: by this ``_write`` knows
    that ``lower_bounds`` must run first. Low bits come from the sequence inferences_row. Two
    rows of one microsecond with the same low bits are a unique violation, after which
    ``_write_until_it_fits`` tries again.
    """
    hot = {name: kind for name, kind in HOT.items() if _is_written(name, given)}
    extra = {name: kind for name, kind in EXTRA.items() if _is_written(name, given)}
    columns = hot | COLD | extra
    beside = "".join(BESIDE[name] for name in BESIDE if name in given)
    return f"""
WITH held AS MATERIALIZED (  -- what is read from the model holds until the commit
    SELECT id AS model_key, awaits_truth, text_search_language
    FROM {_table(RegisteredModel)}
    WHERE id = %(model)s AND first_id <= %(lowest)s AND blob_gone_before <= %(lowest)s
    AND (%(joins)s OR NOT awaits_truth)
    FOR SHARE
), given AS MATERIALIZED (
    SELECT held.model_key, given.*,
           coalesce(given_id, (created_us << {LOW_BITS})
                    | (nextval('inferences_row') & {ROOM - 1})) AS id
    FROM held, json_to_recordset(%(rows)s) AS given
         ({", ".join(f"{name} {kind}" for name, kind in columns.items())})
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
    INSERT INTO {_table(Inference)} (id, model_key, {_list(hot)})
    SELECT given.id, given.model_key, {_list(hot, "given.")}
    FROM given JOIN new USING (model_key, id)
), touched AS (
    {touches_of("SELECT id FROM new", keep_bounds=False)}
), payload AS (
    INSERT INTO {_table(InferencePayload)} (id, model_key, {_list(COLD)})
    SELECT given.id, given.model_key, {_list(COLD, "given.")}
    FROM given JOIN new USING (model_key, id)
), detected AS (
    INSERT INTO {_table(Detection)} (id, model_key, label_id, score)
    SELECT id, model_key, each.label, each.score
    FROM given JOIN new USING (model_key, id), unnest(labels, scores) AS each (label, score)
), {beside}counted AS (  -- metadata is {{key: [type, text]}}
    INSERT INTO {_table(MetadataKeyCount)} (model_key, key, type, delta)
    SELECT %(model)s, each.key, each.value ->> 0, count(*)
    FROM given JOIN new USING (model_key, id), jsonb_each(metadata) AS each GROUP BY 2, 3
){end}"""


def _is_written(name: str, given: frozenset[str]) -> bool:
    column = "classes" if name == "probabilities" else name  # they come together
    return column in given or column not in OPTIONAL


END_OF_BATCH = """
SELECT inference_id, NULL FROM new UNION ALL SELECT NULL, awaits_truth FROM held
"""
# Of one inference with its audit entry.
END_ALONE = f""", audited AS (
    INSERT INTO {_table(AuditEntry)} (at, project_id, actor, action, subject, details)
    SELECT clock_timestamp(), %(project)s, %(actor)s, %(action)s, inference_id, '{{}}'
    FROM new
)
SELECT id FROM new
"""
# The tables beside, each with the optional column that brings its rows.
BESIDE = {
    "classes": f"""distributed AS (
    INSERT INTO {_table(ClassProbability)} (id, model_key, label_id, score)
    SELECT id, model_key, each.label, each.score
    FROM given JOIN new USING (model_key, id),
         unnest(classes, probabilities) AS each (label, score)
), """,
    "vector": f"""embedded AS (
    INSERT INTO {_table(RecentEmbedding)} (id, model_key, vector)
    SELECT id, model_key, vector FROM given JOIN new USING (model_key, id)
    WHERE vector IS NOT NULL
), """,
    "overflow": f"""beside AS (
    SELECT id, model_key, side.* FROM given JOIN new USING (model_key, id),
         json_to_recordset(overflow) AS side (key_id integer, text text, number float8)
), texts AS (
    INSERT INTO {_table(OverflowText)} (id, model_key, key_id, value)
    SELECT id, model_key, key_id, text FROM beside WHERE text IS NOT NULL
), numbers AS (
    INSERT INTO {_table(OverflowNumber)} (id, model_key, key_id, value)
    SELECT id, model_key, key_id, number FROM beside WHERE number IS NOT NULL
), """,
    # The language is that of the model's row, which is held: a task that indexes anew in
    # another language sees each row that was indexed in this one.
    "texts": f"""searched AS (
    INSERT INTO {_table(InferenceText)} (id, model_key, side, part, words)
    SELECT id, model_key, each.side, each.part,
           to_tsvector(text_search_language::regconfig, each.words)
    FROM given JOIN new USING (model_key, id) JOIN held USING (model_key),
         json_to_recordset(texts) AS each (side smallint, part integer, words text)
), """,
}
# One probe of the unique key for each name, fenced by OFFSET 0. With a list of names the
# planner may read all keys of the model instead, while it has no statistics of a table that
# was just filled.
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
