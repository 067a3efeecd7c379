"""Pack what is stored as objects of its own, so that a store of an earlier release gets small.

Records are taken oldest first, those of one hour together. Each batch is copied into packs,
which are put; then the rows are pointed at them, in one transaction; then the old objects are
deleted. A kill between two steps leaves a pack, or objects, that no row names: both are copies
of what is stored, and the collector deletes them. So the work may be stopped at any moment and
begun again, and every batch is whole or undone.

A row with an intent is left alone: whoever removes it has read its keys. So is one whose marker
was read here and is being erased. What changes a row meanwhile finds it by its id, and reads its
keys anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from django.conf import settings
from django.db import connection, transaction

from inferences.models import InferencePayload, RegisteredModel
from inferences.models.row_ids import LOWEST
from inferences.previews import pictures
from inferences.store import removal
from inferences.store.marker_form import marker_in_pack
from istore import blobs
from istore.blobs import moves, packs
from istore.failpoints import failpoint


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
class Progress:
    """What one batch did: records packed, and the row id up to which all were looked at."""

    packed: int
    last_id: int


def pack_model(model: RegisteredModel) -> Iterator[Progress]:
    """Pack the records of a model whose answers are objects of their own, batch by batch."""
    after = LOWEST
    while rows := _next(model, after):
        after = rows[-1][0]
        packed = 0
        for hour, group in _by_hour(rows).items():
            for some in _read(group):
                packed += _pack(model, hour, some)
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
    """Move these records into packs; return how many."""
    data_keys = {each.row_id: each.data_key for each in stored}
    with_data = [each for each in stored if each.data is not None]
    if with_data:
        inputs = packs.build_inputs(
            packs.new_key(hour, packs.INPUTS),
            [(each.unique, each.data or b"") for each in with_data],
        )
        blobs.put(inputs.key, inputs.body)
        for each, member in zip(with_data, inputs.members, strict=True):
            data_keys[each.row_id] = member.content_key(inputs.key)
    records = packs.build_records(
        packs.new_key(hour, packs.RECORDS),
        [(e.unique, _marker(e.marker, data_keys[e.row_id]), e.answer) for e in stored],
    )
    blobs.put(records.key, records.body)
    failpoint("packing.put")
    pairs = list(zip(stored, records.members, strict=True))
    answer_keys = {e.row_id: member.content_key(records.key) for e, member in pairs}
    marker_keys = {e.row_id: member.marker_key(records.key) for e, member in pairs}
    moved = _repoint(model, stored, data_keys, answer_keys, marker_keys)
    failpoint("packing.repointed")
    old = [each for each in stored if each.row_id in moved]
    unused = [each for each in stored if each.row_id not in moved]
    pictures.forget([each.data_key for each in old if each.data is not None])
    blobs.delete(
        key
        for each in old
        for key in removal.blob_keys(
            each.data_key if each.data is not None else "", each.answer_key
        )
    )
    # Rows that were removed, or changed, meanwhile: their copies are taken back.
    blobs.delete(
        key
        for each in unused
        for key in (
            data_keys[each.row_id] if each.data is not None else "",
            answer_keys[each.row_id],
        )
    )
    return len(old)


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


REPOINT = f"""
UPDATE {InferencePayload._meta.db_table} AS payload
SET data_storage_key = moved.new_data, answer_storage_key = moved.new_answer
FROM unnest(%(ids)s::bigint[], %(old_data)s::text[], %(old_answers)s::text[],
            %(new_data)s::text[], %(new_answers)s::text[], %(marked)s::boolean[])
     AS moved (id, old_data, old_answer, new_data, new_answer, is_marked)
WHERE payload.model_key = %(model)s AND payload.id = moved.id
  AND payload.id BETWEEN %(lowest)s AND %(highest)s
  AND payload.data_storage_key = moved.old_data
  AND payload.answer_storage_key = moved.old_answer
  AND removal_at IS NULL AND input_removal_at IS NULL
  AND NOT (is_marked AND coalesce(notes ? 'marker_erased', false))
RETURNING payload.id
"""


def _repoint(
    model: RegisteredModel,
    stored: list[Stored],
    data_keys: dict[int, str],
    answer_keys: dict[int, str],
    marker_keys: dict[int, str],
) -> set[int]:
    """Point the rows at their members, in one statement; return those that were as read."""
    ids = [each.row_id for each in stored]
    values: dict[str, Any] = {
        "model": model.pk,
        "ids": ids,
        "lowest": min(ids),
        "highest": max(ids),
        "old_data": [each.data_key for each in stored],
        "old_answers": [each.answer_key for each in stored],
        "new_data": [data_keys[each] for each in ids],
        "new_answers": [answer_keys[each] for each in ids],
        "marked": [each.marker != b"" for each in stored],
    }
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(REPOINT, values)
            moved = {row_id for (row_id,) in cursor}
        kept = [each for each in stored if each.row_id in moved]
        moves.note({each.data_key: data_keys[each.row_id] for each in kept})
        moves.note({each.answer_key: answer_keys[each.row_id] for each in kept})
        moves.note({e.marker_key: marker_keys[e.row_id] for e in kept if e.marker})
    return moved
