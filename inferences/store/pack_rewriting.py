"""Rewrite packs on an object store, so that nothing is left of the members that were released.

The steps, each of which may be repeated after a kill at any of them:

1. the live members are copied into a new pack, which is put (``pack_making.py``);
2. in one transaction, under the locks of their rows, the rows are pointed at the new pack, and
   the rest of the old pack is noted as released;
3. the old pack, of which every member is released now, is deleted, and then its notes.

A removal that commits its intent before step 2 changes the row, so that the rows do not add up
to the copied members any more: then the new pack is deleted, and the pack waits for the next
try, which knows of the release. The same holds while a member has no row yet, because its event
is on its way, and while a row is locked: step 2 waits for nobody, so it is in no deadlock. A
pack that would have to wait is not copied.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from inferences.models import InferencePayload, RegisteredModel
from inferences.models.row_ids import first_id_at
from inferences.store import pack_making
from istore import blobs
from istore.best_effort_cache import recall, remember
from istore.blobs import moves, pack_notes, packs
from istore.blobs.keys import DATASETS, MemberKey, prefix_of_model
from istore.blobs.packs import Member, Pack
from istore.blobs.storage_failures import STORAGE_FAILURES
from istore.errors import Unavailable
from istore.failpoints import failpoint
from istore.hooks import Hook

HOUR = timedelta(hours=1)
PATIENCE, PAUSE = 30.0, 0.5  # seconds
TURN = (
    5.0  # seconds for which packs of one owner are rewritten before others get the lock
)
BESIDE = timedelta(
    minutes=10
)  # a create by the API takes its key so long before its time
LOCKED = "A row of it is locked or being removed, or an event of it is not recorded yet"
BUSY = "Other packs of its model, or of the project's datasets, are being made"
TRIES = 10  # of a pack that waits, in the time until which its releases are to be carried out
TOLD = 2  # packs that wait and are named

logger = logging.getLogger(__name__)

# Repoints whatever else names members: it gets the pack and the new keys by the old ones, and
# returns the old keys that it found. It is called in the transaction of step 2.
Repoint = Callable[[str, Mapping[str, str]], set[str]]
repoints: Hook[Repoint] = Hook()


@dataclass(frozen=True, slots=True)
class Rewritten:
    """How many packs went whole, how many were rewritten, how many have to wait, and bytes.

    ``why`` says of one pack what it waits for.
    """

    deleted: int = 0
    rewritten: int = 0
    waiting: int = 0
    bytes: int = 0
    why: str = field(default="", compare=False)

    @property
    def counts(self) -> dict[str, int]:
        """What a receipt tells; empty if nothing was to do."""
        done = {"deleted": self.deleted, "rewritten": self.rewritten}
        return {**done, "bytes": self.bytes} if any(done.values()) else {}

    def __add__(self, other: Rewritten) -> Rewritten:
        return Rewritten(
            self.deleted + other.deleted,
            self.rewritten + other.rewritten,
            self.waiting + other.waiting,
            self.bytes + other.bytes,
        )


def rewrite_all(below: str = "", before: datetime | None = None) -> Rewritten:
    """Rewrite the packs below a prefix that have released members; return what was done.

    With ``before`` only those with a release from before that moment, and of those that had to
    wait only some, as it costs reading the rows of an hour to find that a pack still waits. Where
    members are released on disk there is nothing to rewrite. Copies that somebody else is making
    wait, or go if a kill has left them.
    """
    total = Rewritten()
    for owner in pack_making.owners_with_notes(below):
        with pack_making.making(owner) as is_ours:
            total += Rewritten(waiting=not is_ours)
    if not pack_notes.are_kept():
        return total
    due = pack_notes.packs_with_notes(below, before)
    if before is not None:
        due = [pack for pack in due if not recall(_waits_key(pack))]
    for pack, done in _rewrite_each(due):
        if done.why == LOCKED:
            pause = settings.ISTORE_PACK_COMPACT_MINUTES * 60 // TRIES
            remember(_waits_key(pack), True, pause)
        total += done
    return total


def _waits_key(pack: str) -> str:
    """Return the cache entry of a pack that is not to be tried again yet."""
    return f"pack-waits:{pack}"


def rewrite_until_done(
    touched: Iterable[str], below: str, count: Callable[[Rewritten], None]
) -> None:
    """Rewrite these packs until no release in them is left to carry out.

    Nor is any copy left that was begun before, of a model below ``<project>/`` or
    ``<project>/<model>/``. What other packs wait for does not matter. ``count`` gets what was done
    with each pack at once: who tries again does not find the packs that are done. Raises
    ``Unavailable`` if nothing could be done for ``PATIENCE`` seconds.
    """
    waiting = dict.fromkeys(pack_notes.those_with_notes(touched), "")
    copying = _models_below(below)
    until = time.monotonic() + PATIENCE
    while True:
        copying = {each for each in copying if not _has_tidied_up(each)}
        left: dict[str, str] = {}
        for pack, done in _rewrite_each(waiting, PAUSE):
            if done.waiting:
                left[pack] = done.why
            elif done.counts:
                count(done)
                until = time.monotonic() + PATIENCE
        waiting = left
        if not waiting and not copying:
            return
        if time.monotonic() > until:
            raise Unavailable("packs-wait", _tell_waiting(waiting, copying))
        time.sleep(PAUSE)


def _tell_waiting(waiting: Mapping[str, str], copying: Iterable[str]) -> str:
    """Return which packs wait and why, as sentences."""
    packs_by_reason: dict[str, list[str]] = {}
    for pack, why in sorted(waiting.items()):
        packs_by_reason.setdefault(why, []).append(pack)
    told = []
    for why, names in packs_by_reason.items():
        more = [f"{len(names) - TOLD} more"] * (len(names) > TOLD)
        told.append(f"{', '.join(names[:TOLD] + more)}: {why.rstrip('.')}.")
    if models := sorted(copying):
        told.append(f"Packs below {', '.join(models[:TOLD])} are being made.")
    noun = "pack waits" if len(waiting) == 1 else "packs wait"
    return f"{len(waiting)} {noun}. {' '.join(told)}"


def _has_tidied_up(owner: str) -> bool:
    """Return whether no pack of the owner is in the making that was begun before this call."""
    with pack_making.making(owner, PAUSE) as is_ours:
        return is_ours


def _rewrite_each(
    some: Iterable[str], seconds: float = 0.0
) -> Iterator[tuple[str, Rewritten]]:
    """Rewrite each pack; yield what was done with it, outside of the lock.

    Those of one owner are rewritten together for some seconds: others who make packs of it hold
    the lock for a while at a time.
    """
    for owner, group in groupby(sorted(some), key=pack_making.owner_of):
        todo = deque(group)
        while todo:
            with pack_making.making(owner, seconds) as is_ours:
                if not is_ours:
                    yield from ((e, Rewritten(waiting=1, why=BUSY)) for e in todo)
                    break
                done = _rewrite_some(todo)
            yield from done


def _rewrite_some(todo: deque[str]) -> list[tuple[str, Rewritten]]:
    """Rewrite packs from the left of the queue until it is empty, or the turn is over."""
    done: list[tuple[str, Rewritten]] = []
    until = time.monotonic() + TURN
    while todo and (not done or time.monotonic() < until):
        pack = todo.popleft()
        try:
            done.append((pack, _rewrite(pack)))
        except STORAGE_FAILURES as failure:  # the other packs go on
            logger.error("%s waits: %s", pack, failure)
            done.append((pack, Rewritten(waiting=1, why=str(failure))))
    return done


def _models_below(below: str) -> set[str]:
    """Return the prefixes of the models below ``<project>/`` or ``<project>/<model>/``."""
    project, model, *_ = below.split("/")
    models = RegisteredModel.objects.filter(project=int(project))
    if model:
        models = models.filter(pk=int(model))
    return {
        prefix_of_model(int(project), e) for e in models.values_list("pk", flat=True)
    }


def rewrite(pack: str) -> Rewritten:
    """Rewrite one pack without its released members, or delete it if none is left.

    It has to wait while another pack of its owner is being made. Raises what the storage raises.
    """
    with pack_making.making(pack_making.owner_of(pack)) as is_ours:
        return _rewrite(pack) if is_ours else Rewritten(waiting=1, why=BUSY)


def _rewrite(pack: str) -> Rewritten:
    try:
        members = packs.read_index(pack)
    except FileNotFoundError:
        pack_notes.forget(pack)
        return Rewritten()
    released = pack_notes.released_in(pack)
    live = [each for each in members if each.offset not in released]
    gone = sum(e.end - e.start for e in members if e.offset in released)
    if not live:
        blobs.delete([pack])
        _forget(pack)
        return Rewritten(deleted=1, bytes=gone)
    if not _is_all_named(pack, live):
        return Rewritten(waiting=1, why=LOCKED)
    try:
        new = _copy(pack, live, released)
    except FileNotFoundError:  # another process has rewritten it meanwhile
        return Rewritten()
    pack_making.put([new])
    failpoint("rewriting.copied")
    is_done = _repoint(pack, live, released, new)
    failpoint("rewriting.repointed")
    pack_making.finish([new])
    if not is_done:
        return Rewritten(waiting=1, why=LOCKED)
    _forget(pack)
    return Rewritten(rewritten=1, bytes=gone)


def _copy(pack: str, live: list[Member], released: set[int]) -> Pack:
    """Return a new pack with the live members; a marker that was released alone is left out."""
    old = blobs.get(pack)
    hour, _, name = pack.rpartition("/")
    members = [
        (
            each.unique,
            b""
            if each.marker_offset in released
            else old[each.marker_offset : each.offset - packs.LEAD.size],
            old[each.offset : each.end],
        )
        for each in live
    ]
    if packs.has_records(name):
        return packs.build_records(packs.new_key(hour, packs.RECORDS), members)
    inputs = [(unique, content) for unique, _, content in members]
    return packs.build_inputs(packs.new_key(hour, packs.INPUTS), inputs)


@transaction.atomic
def _repoint(pack: str, live: list[Member], released: set[int], new: Pack) -> bool:
    """Point the rows at the new pack; return False, changing nothing, unless all have one.

    Nor may anything be released that was not when it was copied. A marker is released alone
    under the lock of its row, so none is from here on.
    """
    moved = {
        old.content_key(pack): copy.content_key(new.key)
        for old, copy in zip(live, new.members, strict=True)
    }
    markers = {
        old.marker_key(pack): copy.marker_key(new.key)
        for old, copy in zip(live, new.members, strict=True)
        if copy.marker_length
    }
    found = _run(REPOINT, pack, moved)
    for repoint in repoints.values():
        found |= repoint(pack, moved | markers)
    inputs = moved if packs.has_inputs(pack) else ()
    left = moved.keys() - found
    if (
        left
        or pack_notes.released_in(pack) != released
        or not pack_making.take_over([new], [pack], inputs)
    ):
        transaction.set_rollback(True)
        logger.info("%s waits: %d members without a row", pack, len(left))
        return False
    moves.note(moved | markers)
    pack_notes.note(MemberKey(pack, each.offset, each.length) for each in live)
    return True


def _is_all_named(pack: str, live: list[Member]) -> bool:
    """Return whether ``_repoint`` would find each of the members now; nothing is changed."""
    keys = {each.content_key(pack) for each in live}
    left = keys - _run(NAMED, pack, {key: key for key in keys})
    if left:
        with transaction.atomic():
            for repoint in repoints.values():
                left -= repoint(pack, {key: key for key in left})
            transaction.set_rollback(True)
    return not left


# A row's id is of the hour of its pack: served by the primary key.
OF_THE_HOUR = "payload.id BETWEEN %(lowest)s AND %(highest)s"
# Or the clock of the proxy was wrong, of which the key tells still, and the id was corrected:
# served by the index ``payload_with_clock_anomaly``.
CORRECTED = """payload.notes ? 'clock_anomaly'
  AND (payload.notes -> 'times' ->> 'received') COLLATE "C" >= %(begin)s
  AND (payload.notes -> 'times' ->> 'received') COLLATE "C" < %(end)s"""
# A row with an intent is left out: whoever removes it has read the old key.
NAMED = f"""
SELECT payload.id, moved.old, moved.new FROM {InferencePayload._meta.db_table} AS payload
JOIN unnest(%(old)s::text[], %(new)s::text[]) AS moved (old, new)
  ON payload.{{column}} = moved.old
WHERE model_key = %(model)s AND {{which}} AND {{intents}}
"""
REPOINT = f"""
WITH free AS ({NAMED} FOR UPDATE OF payload SKIP LOCKED)
UPDATE {InferencePayload._meta.db_table} AS payload SET {{column}} = free.new
FROM free
WHERE payload.model_key = %(model)s AND payload.id = free.id AND {{which}}
RETURNING payload.id, free.old
"""


def _run(statement: str, pack: str, moved: Mapping[str, str]) -> set[str]:
    """Run a statement for the payloads that name the old keys; return those that were found."""
    column, intents = "answer_storage_key", "removal_at IS NULL"
    if packs.has_inputs(pack):
        column, intents = "data_storage_key", f"{intents} AND input_removal_at IS NULL"
    found: set[str] = set()
    if pack.startswith(DATASETS):
        return found  # no inference names it
    _, model_key, *hour, _ = pack.split("/")
    start = datetime.strptime("/".join(hour), "%Y/%m/%d/%H").replace(tzinfo=UTC)
    values: dict[str, Any] = {
        "model": int(model_key),
        "lowest": first_id_at(start - BESIDE),
        "highest": first_id_at(start + HOUR + BESIDE),
        "begin": f"{start:%Y-%m-%dT%H}",
        "end": f"{start + HOUR:%Y-%m-%dT%H}",
    }
    for which in (OF_THE_HOUR, CORRECTED):
        old = [key for key in moved if key not in found]
        if not old:
            break
        with connection.cursor() as cursor:
            cursor.execute(
                statement.format(column=column, intents=intents, which=which),
                {**values, "old": old, "new": [moved[key] for key in old]},
            )
            found |= {row[1] for row in cursor}
    return found


def _forget(pack: str) -> None:
    """Delete the notes of a pack that was deleted."""
    failpoint("rewriting.deleted")
    pack_notes.forget(pack)
