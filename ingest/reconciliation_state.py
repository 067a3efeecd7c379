"""Is this event already stored, or already deleted? Used to drop duplicates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import TypeVar

from django.db import connection
from django.db.models import Q

from inferences.models import InferenceKey, InferencePayload, RegisteredModel
from inferences.store.lookup import keys_of
from ingest.errors import Rejected
from ingest.events import InferenceEvent
from ingest.markers import read_marker
from ingest.record_builder import content_hash_of
from istore import blobs
from istore.blobs import moves, packs

AT_ONCE = 1000  # ids in one statement
# With "~" and eight digits such an id has 255 characters, as many as the column takes.
CUT_ID_CHARS = 246

Item = TypeVar("Item")


def id_of_other(inference_id: str, content_hash: bytes) -> str:
    """Return the id for other content, used when the event's own id is taken."""
    return f"{inference_id[:CUT_ID_CHARS]}~{content_hash.hex()[:8]}"


def copies_of(
    model: RegisteredModel, inference_ids: Iterable[str]
) -> dict[str, set[str]]:
    """Return the copy names of stored inferences, by id; ids without a row are left out.

    ``blobs.copy_name`` says what they are.
    """
    found: dict[str, set[str]] = {}
    for some in _batches(inference_ids):
        with connection.cursor() as cursor:
            cursor.execute(STORED, {"model": model.pk, "names": some})
            for name, *stored in cursor:
                found[name] = {blobs.copy_name(key) for key in stored if key}
    return found


# OFFSET 0 is an optimisation fence: see inferences/store/lookup.py.
STORED = f"""
SELECT name, kept.answer_storage_key, kept.data_storage_key
FROM unnest(%(names)s::varchar[]) AS name
CROSS JOIN LATERAL (
    SELECT row_id FROM {InferenceKey._meta.db_table}
    WHERE model_key = %(model)s AND inference_id = name OFFSET 0
) AS met
CROSS JOIN LATERAL (
    SELECT answer_storage_key, data_storage_key
    FROM {InferencePayload._meta.db_table}
    WHERE model_key = %(model)s AND id = met.row_id OFFSET 0
) AS kept
"""


def already_processed(model: RegisteredModel, named: Mapping[str, str]) -> set[str]:
    """Return the copies whose events are already stored or deleted.

    ``named`` maps the copy name of an event's answer to its inference id.
    """
    done: set[str] = set()
    for some in _batches(named.items()):
        wanted = dict(some)
        ids = set(wanted.values())
        removed = {name for name, key in keys_of(model, ids).items() if key.removed_at}
        stored = copies_of(model, ids)
        for copy, inference_id in wanted.items():
            if inference_id in removed or copy in stored.get(inference_id, ()):
                done.add(copy)
            if inference_id in stored and copy not in done:
                done |= {copy} & copies_beside(model, inference_id)
    return done


def is_stored(model: RegisteredModel, copy: str, inference_id: str) -> bool:
    """Return whether a record of this id, or one that had to take another, names the copy."""
    stored = copies_of(model, [inference_id]).get(inference_id, set())
    return copy in stored or copy in copies_beside(model, inference_id)


def still_in_place(events: Iterable[InferenceEvent]) -> list[InferenceEvent]:
    """Return the events whose records did not leave their place, for another or for none.

    A marker is read where it is now. So its row may name the new place, though no row was found
    to name the old one. Ask this after rows were looked for: if the record is still in its
    place, it was there then.
    """
    by_answer = {each.inference_storage_key: each for each in events}
    in_packs = set(filter(packs.is_member, by_answer))
    left = in_packs - packs.unreleased(in_packs) | moves.moved_among(by_answer)
    return [each for answer, each in by_answer.items() if answer not in left]


def dropped_copies(model: RegisteredModel, named: Mapping[str, str]) -> set[str]:
    """Return the copies whose blobs were deleted as those of a duplicate.

    ``named`` maps the copy name of an event's answer to its inference id. ``batch_writer.py``
    deletes the blobs of a duplicate before its entry is acknowledged. So a listener that dies in
    between gets the entry again, with nothing left of that copy, and no record names it. If the
    id has a row, the event was handled; an id that is only reserved still waits for its call.

    A record in a pack is released whole. Of objects in a folder the marker is deleted last:
    where it alone is left and says the content of the stored record, the deletion was
    interrupted and is finished here. If it says another content, or an input or an answer is
    left, the capture is damaged, not handled: its marker is kept.
    """
    keys = keys_of(model, named.values())
    done = set()
    for copy, inference_id in named.items():
        key = keys.get(inference_id)
        if key is None or key.row_id is None:
            continue
        if packs.is_member(copy):
            if packs.is_released(copy):
                done.add(copy)
            continue
        left = set(blobs.listed(copy)[1])
        if left == {blobs.METADATA}:
            marker = f"{copy}/{blobs.METADATA}"
            if not is_copy_of(marker, model, key.row_id):
                continue
            blobs.delete([marker])
        if left <= {blobs.METADATA}:
            done.add(copy)
    return done


def is_copy_of(marker: str, model: RegisteredModel, row_id: int) -> bool:
    """Return whether the marker of this key has the content of the record in this row."""
    rows = InferencePayload.objects.filter(registered_model=model, id=row_id)
    stored = rows.values_list("content_hash", flat=True).first()
    try:
        content_hash = content_hash_of(read_marker(blobs.get(marker)))
    except (FileNotFoundError, Rejected):
        return False
    return stored is not None and bytes(stored) == content_hash


def copies_beside(model: RegisteredModel, inference_id: str) -> set[str]:
    """Return the copy names of records of other content that wanted this id."""
    first = id_of_other(inference_id, b"")
    # A range, served by the primary key (model_key, inference_id). "g" sorts after every
    # hexadecimal digit.
    keys = InferenceKey.objects.filter(
        Q(inference_id__gte=first, inference_id__lt=f"{first}g"), registered_model=model
    )
    ids = list(keys.values_list("inference_id", flat=True)[:AT_ONCE])
    return set().union(*copies_of(model, ids).values())


def _batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    rest = iter(items)
    while some := list(islice(rest, AT_ONCE)):
        yield some
