"""Find members of packs that no record names, and release them when they are old enough.

A pack of records was acknowledged whole with its put. So a member of it that no row names is
released only once its inference is known to be removed, or recorded from another copy
(``orphan_blobs.fates``); the input of a member that still waits stays as well. Packs are
listed, and of each the index is read: no request is made for an inference. A pack in the making
is left to whoever makes it (``inferences/store/pack_making.py``).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from inferences.maintenance import orphan_blobs
from inferences.maintenance.orphan_blobs import (
    fates_of,
    hours_of,
    models_of,
    named_among,
)
from inferences.models import RegisteredModel
from inferences.store import pack_making
from istore import blobs
from istore.blobs import packs
from istore.blobs.packs import Member
from istore.checks.verification import Finding, Scope
from istore.db.clock import now
from istore.failpoints import failpoint


def unnamed_members(scope: Scope) -> Iterator[Finding]:
    """Find members that no record names, and packs that cannot be read."""
    for model in models_of(scope):
        if scope.repair:
            with pack_making.making(model.pk):
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
    names = [e.key for e in blobs.files_in(prefix) if packs.has_records(e.key)]
    for name in pack_making.acknowledged(names, prefix):
        for _ in _records(model, name, start, replace(scope, repair=False), unsettled):
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
        members = _exhaust(_members(name))
        left = _unnamed({e.content_key(name): e for e in members}, model, start)
        markers = {e.marker_key(name): k for k, e in left.items()}
        waiting = {m: k for m, k in markers.items() if not packs.is_released(k)}
        fates = fates_of(model, list(waiting), scope) if waiting else {}
        gone = [key for marker, key in waiting.items() if fates[marker].removed]
        keys += gone
        captures |= {left[key].unique for key in gone}
    for name in filter(packs.has_inputs, names) if captures else ():
        members = [e for e in _exhaust(_members(name)) if e.unique in captures]
        keys += _unnamed({e.content_key(name): e for e in members}, model, start)
    # The inputs that have an object of their own.
    own = [f"{prefix}{UUID(bytes=each)}/{blobs.INPUT}" for each in captures]
    keys += set(own) - named_among(model, own)
    blobs.delete(keys)
    return len(captures)


def _exhaust(found: Generator[Finding, None, list[Member]]) -> list[Member]:
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
        each.key
        for each in blobs.files_in(prefix)
        if packs.is_pack(each.key) and each.modified_at < scope.young_from
    ]
    names = sorted(pack_making.acknowledged(listed, prefix))
    unsettled: set[bytes] = set()  # captures whose record waits to be recorded
    for name in filter(packs.has_records, names):
        yield from _records(model, name, start, scope, unsettled)
    for name in filter(packs.has_inputs, names):
        yield from _inputs(model, name, start, scope, unsettled)


def _records(
    model: RegisteredModel,
    pack: str,
    start: datetime,
    scope: Scope,
    unsettled: set[bytes],
) -> Iterator[Finding]:
    """Find the records of a pack that no row names, and add those that wait to ``unsettled``."""
    members = yield from _members(pack)
    left = _unnamed({each.content_key(pack): each for each in members}, model, start)
    gone = [key for key, each in left.items() if _is_half_released(pack, each, scope)]
    markers = {
        each.marker_key(pack): key
        for key, each in left.items()
        if not packs.is_released(key)
    }
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
    pack: str,
    start: datetime,
    scope: Scope,
    unsettled: set[bytes],
) -> Iterator[Finding]:
    """Find the inputs of a pack that no row names, unless their record waits."""
    members = yield from _members(pack)
    left = _unnamed({each.content_key(pack): each for each in members}, model, start)
    gone = [
        key
        for key, each in left.items()
        if (each.unique not in unsettled and not packs.is_released(key))
        or _is_half_released(pack, each, scope)
    ]
    if gone:
        yield _release(pack, gone, scope)


def _is_half_released(pack: str, member: Member, scope: Scope) -> bool:
    """Return whether a release on disk was killed before all bytes went; it costs reading them."""
    return scope.deep and packs.is_half_released(pack, member)


def _members(pack: str) -> Generator[Finding, None, list[Member]]:
    """Return the members of a pack; one that cannot be read is a finding."""
    try:
        return packs.live_members(pack)
    except FileNotFoundError:
        return []  # it went with its last member meanwhile
    except packs.PackDamaged as error:
        yield Finding("pack-damaged", pack, str(error)[:200])
        return []


def _unnamed(
    members: dict[str, Member], model: RegisteredModel, start: datetime
) -> dict[str, Member]:
    """Return the members whose keys no row of the model names."""
    keys = list(members)
    left = set(keys) - named_among(model, keys, start)
    if left:
        left -= named_among(model, sorted(left))
    return {key: each for key, each in members.items() if key in left}


def _release(pack: str, keys: list[str], scope: Scope) -> Finding:
    if scope.repair:
        blobs.delete(keys)
        failpoint("collecting.removed")
    count = len(keys)
    detail = f"{count} {'member' if count == 1 else 'members'}."
    return Finding("unnamed", pack, detail, scope.repair)
