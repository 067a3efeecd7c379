"""Pack what is stored as objects of its own, so that a store of an earlier release gets small.

Records are taken oldest first, those of one hour together. Each group that fits into a pack is
read, and copied into packs, which are put (``inferences/store/pack_making.py``); then the rows are
pointed at them, in one transaction; then the old objects are deleted. The work may be stopped at
any moment and begun again, and every group is whole or undone.

The lock of the model's packs is held for one group, from after it was read, so that removals get
their turn in between. A removal that is complete by then has taken its rows away: the rows are
looked at once more before the put, so that no byte of it comes back.

A row with an intent is left alone: whoever removes it has read its keys. So is one whose marker
was read here and is being erased, and one that is locked, so that this waits for nobody. When
such a row was copied already, the rest of its group is copied anew, without it. What changes a
row meanwhile finds it by its id, and reads its keys anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from django.conf import settings
from django.db import connection, transaction

from inferences.models import InferencePayload, RegisteredModel
from inferences.models.row_ids import LOWEST
from inferences.store import pack_making, removal
from inferences.store.marker_form import marker_in_pack
from istore import blobs
from istore.blobs import moves, packs
from istore.blobs.keys import prefix_of_model
from istore.blobs.packs import Pack
from istore.failpoints import failpoint

WAIT = 1.0  # seconds, again and again, until no other packs of the model are being made


@dataclass(frozen=True, slots=True)
class Stored:
    """A record whose blobs are objects of their own, and their content."""

    row_id: int
    data_key: str
    answer_key: str
    data: bytes | None  # None: it has no input, or one that stays an object of its own
    marker: bytes  # empty: an erasure took it
    answer: bytes

    @property
    def marker_key(self) -> str:
        """The key of its marker, beside the answer."""
        return f"{self.answer_key.rpartition('/')[0]}/{blobs.METADATA}"

    @property
    def unique(self) -> bytes:
        """The UUID of the capture, which names the folder of its objects."""
        name = self.answer_key.rsplit("/", 2)[-2]
        try:
            return UUID(name).bytes
        except ValueError:
            return hashlib.sha256(name.encode()).digest()[:16]


@dataclass(frozen=True, slots=True)
class Made:
    """The packs of a group that are not put yet, and the new keys by row id."""

    packs: list[Pack]
    data_keys: dict[int, str]
    answer_keys: dict[int, str]
    marker_keys: dict[int, str]


@dataclass(frozen=True, slots=True)
class Progress:
    """What one batch did: records packed, and the row id up to which all were looked at."""

    packed: int
    last_id: int


def pack_model(model: RegisteredModel) -> Iterator[Progress]:
    """Pack the records of a model whose answers are objects of their own, batch by batch."""
    after = LOWEST
    while rows := _next(model, after):
        packed = sum(
            _pack(model, hour, some)
            for hour, group in _by_hour(rows).items()
            for some in _read(group)
        )
        after = rows[-1][0]
        yield Progress(packed, after)


def _next(model: RegisteredModel, after: int) -> list[tuple[int, str, str]]:
    rows = InferencePayload.objects.beside(model).filter(
        id__gt=after,
        answer_storage_key__endswith=f"/{blobs.ANSWER}",
        removal_at=None,
        input_removal_at=None,
    )
    found = rows.order_by("id").values_list(
        "id", "data_storage_key", "answer_storage_key"
    )
    return list(found[: packs.MEMBERS_MAX])


def _by_hour(
    rows: list[tuple[int, str, str]],
) -> dict[str, list[tuple[int, str, str]]]:
    """Return the rows by the folder of their hour, which is two levels above the answer."""
    hours: dict[str, list[tuple[int, str, str]]] = {}
    for row in rows:
        hours.setdefault(row[2].rsplit("/", 2)[0], []).append(row)
    return hours


def _read(rows: list[tuple[int, str, str]]) -> Iterator[list[Stored]]:
    """Yield the records with their content, in groups that fit into one pack."""
    some: list[Stored] = []
    size = 0
    for row_id, data_key, answer_key in rows:
        try:
            stored = _stored(row_id, data_key, answer_key)
        except FileNotFoundError:
            continue  # removed meanwhile, or lost: verify tells of it
        some.append(stored)
        size += len(stored.answer) + len(stored.data or b"")
        if size >= settings.ISTORE_PACK_BYTES:
            yield some
            some, size = [], 0
    if some:
        yield some


def _stored(row_id: int, data_key: str, answer_key: str) -> Stored:
    data = None
    is_own = data_key and not packs.is_member(data_key)
    if is_own and blobs.size(data_key) <= settings.ISTORE_PACK_MEMBER_BYTES:
        data = blobs.get(data_key)
    try:
        marker = blobs.get(f"{answer_key.rpartition('/')[0]}/{blobs.METADATA}")
    except FileNotFoundError:
        marker = b""  # an erasure took it
    return Stored(row_id, data_key, answer_key, data, marker, blobs.get(answer_key))


def _pack(model: RegisteredModel, hour: str, stored: list[Stored]) -> int:
    """Move these records into packs; return how many, without those that changed meanwhile."""
    failpoint("packing.read")
    while stored:
        with _turn(model):
            free = _find_free(model, stored)
            stored = [each for each in stored if each.row_id in free]
            if not stored:
                break
            made = _make(hour, stored)
            pack_making.put(made.packs)
            failpoint("packing.put")
            moved = _repoint(model, stored, made)
            failpoint("packing.repointed")
            pack_making.finish(made.packs)
        if len(moved) == len(stored):
            break
        stored = [each for each in stored if each.row_id in moved]
    return len(stored)


@contextmanager
def _turn(model: RegisteredModel) -> Iterator[None]:
    """Hold the lock of the model's packs, once it is free."""
    owner = prefix_of_model(model.project_id, model.pk)
    while True:
        with pack_making.making(owner, WAIT) as is_ours:
            if is_ours:
                yield
                return


def _make(hour: str, stored: list[Stored]) -> Made:
    made = Made([], {each.row_id: each.data_key for each in stored}, {}, {})
    with_data = [each for each in stored if each.data is not None]
    if with_data:
        inputs = packs.build_inputs(
            packs.new_key(hour, packs.INPUTS),
            [(each.unique, each.data or b"") for each in with_data],
        )
        made.packs.append(inputs)
        for each, member in zip(with_data, inputs.members, strict=True):
            made.data_keys[each.row_id] = member.content_key(inputs.key)
    records = packs.build_records(
        packs.new_key(hour, packs.RECORDS),
        [
            (
                each.unique,
                _marker(each.marker, made.data_keys[each.row_id]),
                each.answer,
            )
            for each in stored
        ],
    )
    made.packs.append(records)
    for each, member in zip(stored, records.members, strict=True):
        made.answer_keys[each.row_id] = member.content_key(records.key)
        made.marker_keys[each.row_id] = member.marker_key(records.key)
    return made


def _marker(marker: bytes, data_key: str) -> bytes:
    """Return the marker as it is in a pack: without its answer, and the keys of its record."""
    try:
        value = orjson.loads(marker)
        event = value["event"]
        answer = {k: v for k, v in value["answer"].items() if k != "text"}
        packed = marker_in_pack(value, event, data_key or event["data_storage_key"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return marker  # it was unreadable before: verify tells of it
    return orjson.dumps({**packed, "answer": answer})


# The rows that are as they were read, and that nobody removes.
FREE = f"""
SELECT payload.id FROM {InferencePayload._meta.db_table} AS payload
JOIN unnest(
    %(ids)s::bigint[], %(old_data)s::text[], %(old_answers)s::text[], %(marked)s::boolean[]
) AS read (id, data, answer, is_marked) ON payload.id = read.id
WHERE payload.model_key = %(model)s
  AND payload.id BETWEEN %(lowest)s AND %(highest)s
  AND payload.data_storage_key = read.data
  AND payload.answer_storage_key = read.answer
  AND removal_at IS NULL AND input_removal_at IS NULL
  AND NOT (is_marked AND coalesce(notes ? 'marker_erased', false))
"""
REPOINT = f"""
WITH free AS ({FREE} FOR UPDATE OF payload SKIP LOCKED)
UPDATE {InferencePayload._meta.db_table} AS payload
SET data_storage_key = moved.data, answer_storage_key = moved.answer
FROM free JOIN unnest(
    %(ids)s::bigint[], %(new_data)s::text[], %(new_answers)s::text[]
) AS moved (id, data, answer) ON free.id = moved.id
WHERE payload.model_key = %(model)s AND payload.id = free.id
  AND payload.id BETWEEN %(lowest)s AND %(highest)s
RETURNING payload.id
"""


def _find_free(model: RegisteredModel, stored: list[Stored]) -> set[int]:
    """Return the rows that are as read, and that nobody removes."""
    return _run(FREE, model, stored)


def _run(
    statement: str, model: RegisteredModel, stored: list[Stored], **more: list[str]
) -> set[int]:
    ids = [each.row_id for each in stored]
    values: dict[str, Any] = {
        "model": model.pk,
        "ids": ids,
        "lowest": min(ids),
        "highest": max(ids),
        "old_data": [each.data_key for each in stored],
        "old_answers": [each.answer_key for each in stored],
        "marked": [each.marker != b"" for each in stored],
        **more,
    }
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return {row_id for (row_id,) in cursor}


@transaction.atomic
def _repoint(model: RegisteredModel, stored: list[Stored], made: Made) -> set[int]:
    """Point the rows at their members; return those that are as read.

    If these are not all, nothing is changed.
    """
    moved = _run(
        REPOINT,
        model,
        stored,
        new_data=[made.data_keys[each.row_id] for each in stored],
        new_answers=[made.answer_keys[each.row_id] for each in stored],
    )
    inputs = [each.data_key for each in stored if each.data is not None]
    own = [key for e in stored for key in removal.blob_keys("", e.answer_key)]
    is_whole = len(moved) == len(stored)
    if not is_whole or not pack_making.take_over(made.packs, inputs + own, inputs):
        transaction.set_rollback(True)
        return moved if not is_whole else set()
    moves.note({each.data_key: made.data_keys[each.row_id] for each in stored})
    moves.note({each.answer_key: made.answer_keys[each.row_id] for each in stored})
    moves.note({e.marker_key: made.marker_keys[e.row_id] for e in stored if e.marker})
    return moved
