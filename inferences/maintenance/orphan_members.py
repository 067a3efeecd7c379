"""Find members of packs that no record names, and release them when they are old enough.

A pack of records was acknowledged whole with its put. So a member of it that no row names is
released only once its inference is known to be removed, or recorded from another copy
(``orphan_blobs.fates``); the input of a member that still waits stays as well. A
pack in the making is left to whoever makes it (``inferences/store/pack_making.py``).

The packs of an hour are listed, and the records of the hour counted by pack, in one statement.
Where count and last byte add up to the size of the pack, every member has its record. On an
object store the index of such a pack is read once in its life, when it is new, and by a deep
look; so a run makes hardly more requests than it takes to list the packs. Members are looked up
one by one only where the count of those that were not released is another.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from django.db import connection

from inferences.maintenance import orphan_blobs
from inferences.maintenance.orphan_blobs import (
    HOUR,
    fates_of,
    hours_of,
    models_of,
    named_among,
)
from inferences.models import InferencePayload, RegisteredModel
from inferences.models.row_ids import first_id_at
from inferences.store import pack_making
from istore import blobs
from istore.blobs import Stored, pack_notes, packs
from istore.blobs.keys import prefix_of_model
from istore.blobs.packs import Member
from istore.checks.verification import Finding, Scope
from istore.db.clock import now
from istore.failpoints import failpoint

INDEX_READ_FOR = timedelta(days=2)  # by every run, from when a pack is no longer young


def unnamed_members(scope: Scope) -> Iterator[Finding]:
    """Find members that no record names, and packs that cannot be read."""
    for model in models_of(scope):
        if scope.repair:
            with pack_making.making(prefix_of_model(model.project_id, model.pk)):
                pass  # what a killed process left is gone
        for start in hours_of(model, scope.since):
            yield from _of_hour(model, start, scope)


def unnamed_objects(scope: Scope) -> Iterator[Finding]:
    """Find objects of their own that no record names, but for inputs of records that wait."""
    return orphan_blobs.unnamed_objects(scope, _waiting_captures)


def _waiting_captures(
    model: RegisteredModel, start: datetime, scope: Scope
) -> set[bytes]:
    """Return the captures of an hour whose records wait to be recorded."""
    prefix = blobs.prefix_for(model.project_id, model.pk, start, "")
    unsettled: set[bytes] = set()
    listed = [e for e in blobs.files_in(prefix) if packs.has_records(e.key)]
    found = _acknowledged(listed, prefix)
    named = _count_named(model, start)
    for each in found:
        for _ in _records(
            model, each, start, replace(scope, repair=False), unsettled, named
        ):
            pass
    return unsettled


def release_copies(model: RegisteredModel, start: datetime) -> int:
    """Release records of an hour that are left of removed inferences, however young they are.

    A capture that was repeated after a crash leaves them, until the listener meets their event.
    Returns how many were released.
    """
    prefix = blobs.prefix_for(model.project_id, model.pk, start, "")
    listed = [each.key for each in blobs.files_in(prefix) if packs.is_pack(each.key)]
    names = pack_making.acknowledged(listed, prefix)
    scope = Scope(now(), model.project)
    captures: set[bytes] = set()
    keys: list[str] = []
    for name in filter(packs.has_records, names):
        members = _drop_findings(_members(name))
        left = _unnamed({e.content_key(name): e for e in members}, model, start)
        markers = {e.marker_key(name): k for k, e in left.items()}
        live = packs.unreleased(left)
        waiting = {m: k for m, k in markers.items() if k in live}
        fates = fates_of(model, list(waiting), scope) if waiting else {}
        gone = [key for marker, key in waiting.items() if fates[marker].removed]
        keys += gone
        captures |= {left[key].unique for key in gone}
    for name in filter(packs.has_inputs, names) if captures else ():
        members = [e for e in _drop_findings(_members(name)) if e.unique in captures]
        keys += _unnamed({e.content_key(name): e for e in members}, model, start)
    # The inputs that have an object of their own.
    own = [f"{prefix}{UUID(bytes=each)}/{blobs.INPUT}" for each in captures]
    keys += set(own) - named_among(model, own)
    blobs.delete(keys)
    return len(captures)


def inputs_without_record(model: RegisteredModel, start: datetime) -> dict[str, int]:
    """Count the live inputs of an hour that have no record, by the key of their pack or object.

    A capture that broke off before its record was put leaves them, until it is collected; so
    does one that is being put now. Nothing tells whose input it is.
    """
    prefix = blobs.prefix_for(model.project_id, model.pk, start, "")
    folders, names = blobs.listed(prefix)
    own = {f"{prefix}{folder}/{blobs.INPUT}": folder for folder in folders}
    unnamed = set(own) - named_among(model, list(own), start)
    listed = [f"{prefix}{name}" for name in names if packs.is_pack(name)]
    listed = pack_making.acknowledged(listed, prefix)
    named = _count_named(model, start)
    inputs = [e for e in listed if packs.has_inputs(e) and e not in named]
    if not inputs and not unnamed:
        return {}
    captures = {
        str(UUID(bytes=each.unique))
        for name in filter(packs.has_records, listed)
        for each in _drop_findings(_members(name))
    }
    found: dict[str, int] = {}
    for name in inputs:
        members = _drop_findings(_members(name))
        left = [
            each.content_key(name)
            for each in members
            if str(UUID(bytes=each.unique)) not in captures
        ]
        found[name] = len(packs.unreleased(left))
    for key in unnamed:
        marker = f"{prefix}{own[key]}/{blobs.METADATA}"
        has_record = own[key] in captures or blobs.exists(marker)
        found[key] = int(not has_record and blobs.exists(key))
    return {key: count for key, count in found.items() if count}


def _drop_findings(found: Generator[Finding, None, list[Member]]) -> list[Member]:
    """Return what the generator returns; its findings are for ``verify`` to tell."""
    while True:
        try:
            next(found)
        except StopIteration as end:
            members: list[Member] = end.value
            return members


def _of_hour(
    model: RegisteredModel, start: datetime, scope: Scope
) -> Iterator[Finding]:
    prefix = blobs.prefix_for(model.project_id, model.pk, start, "")
    listed = [
        each
        for each in blobs.files_in(prefix)
        if packs.is_pack(each.key) and each.modified_at < scope.young_from
    ]
    found = _acknowledged(listed, prefix)
    if not found:
        return
    # Records before inputs, each in the order of their names.
    found.sort(key=lambda each: (packs.has_inputs(each.key), each.key))
    named = _count_named(model, start)
    unsettled: set[bytes] = set()  # captures whose record waits to be recorded
    for each in found:
        look = _inputs if packs.has_inputs(each.key) else _records
        yield from look(model, each, start, scope, unsettled, named)


def _acknowledged(listed: list[Stored], below: str) -> list[Stored]:
    """Return those of the listed packs that are not in the making."""
    names = set(pack_making.acknowledged([each.key for each in listed], below))
    return [each for each in listed if each.key in names]


Counted = dict[str, tuple[int, int]]  # members with a record, and the end of the last

COUNT_NAMED = f"""
SELECT split_part(key, '#', 1), count(DISTINCT key),
       max(split_part(place, '-', 1)::bigint + split_part(place, '-', 2)::bigint)
FROM {InferencePayload._meta.db_table},
     unnest(ARRAY[data_storage_key, answer_storage_key]) AS key,
     split_part(key, '#', 2) AS place
WHERE model_key = %(model)s AND id >= %(lowest)s AND id < %(highest)s AND place <> ''
GROUP BY 1
"""


def _count_named(model: RegisteredModel, start: datetime) -> Counted:
    """Count the members that the records of an hour name, by pack."""
    values = {
        "model": model.pk,
        "lowest": first_id_at(start),
        "highest": first_id_at(start + HOUR),
    }
    with connection.cursor() as cursor:
        cursor.execute(COUNT_NAMED, values)
        return {pack: (count, end) for pack, count, end in cursor}


def _records(
    model: RegisteredModel,
    stored: Stored,
    start: datetime,
    scope: Scope,
    unsettled: set[bytes],
    named: Counted,
) -> Iterator[Finding]:
    """Find the records of a pack that no row names, and add those that wait to ``unsettled``."""
    pack, gone = stored.key, []
    left = yield from _left(model, stored, start, scope, named)
    markers = {each.marker_key(pack): key for key, each in left.items()}
    fates = fates_of(model, list(markers), scope) if markers else {}
    for marker, key in markers.items():
        if fates[marker].is_left_over:
            gone.append(key)
        else:
            unsettled.add(left[key].unique)
            if finding := fates[marker].finding:
                yield finding
    if gone:
        yield _release(pack, gone, scope)


def _inputs(
    model: RegisteredModel,
    stored: Stored,
    start: datetime,
    scope: Scope,
    unsettled: set[bytes],
    named: Counted,
) -> Iterator[Finding]:
    """Find the inputs of a pack that no row names, unless their record waits."""
    left = yield from _left(model, stored, start, scope, named)
    gone = [key for key, each in left.items() if each.unique not in unsettled]
    if gone:
        yield _release(stored.key, gone, scope)


def _left(
    model: RegisteredModel,
    stored: Stored,
    start: datetime,
    scope: Scope,
    named: Counted,
) -> Generator[Finding, None, dict[str, Member]]:
    """Return the live members of a pack that no row names, having checked its index."""
    pack, count, end = stored.key, *named.get(stored.key, (0, 0))
    adds_up = bool(count) and packs.size_of(count, end) == stored.size
    is_new = stored.modified_at >= scope.young_from - INDEX_READ_FOR
    if adds_up and pack_notes.are_kept() and not scope.deep and not is_new:
        return {}
    members = yield from _members(pack)
    if not members or (adds_up and not scope.deep):
        return {}
    by_key = {each.content_key(pack): each for each in members}
    live = packs.unreleased(by_key)
    if scope.deep:  # it costs reading them
        released = sorted(by_key.keys() - live)
        if half := [e for e in released if packs.is_half_released(pack, by_key[e])]:
            yield _release(pack, half, scope, "half-released")
    if len(live) == count:
        return {}
    return _unnamed({key: by_key[key] for key in live}, model, start)


def _members(pack: str) -> Generator[Finding, None, list[Member]]:
    """Return the members of a pack; one that cannot be read is a finding."""
    try:
        return packs.read_index(pack)
    except FileNotFoundError:
        return []  # it went with its last member meanwhile
    except blobs.BlobDamaged as error:
        yield Finding("pack-damaged", pack, str(error)[:200])
        return []


def _unnamed(
    members: dict[str, Member], model: RegisteredModel, start: datetime
) -> dict[str, Member]:
    """Return the live members whose keys no row of the model names.

    All rows of the model are searched only for those that were not released.
    """
    keys = list(members)
    left = packs.unreleased(set(keys) - named_among(model, keys, start))
    if left:
        left -= named_among(model, sorted(left))
    return {key: each for key, each in members.items() if key in left}


def _release(
    pack: str, keys: list[str], scope: Scope, kind: str = "unnamed"
) -> Finding:
    if scope.repair:
        blobs.delete(keys)
        failpoint("collecting.removed")
    count = len(keys)
    detail = f"{count} {'member' if count == 1 else 'members'}."
    return Finding(kind, pack, detail, scope.repair)
