"""Checks of ``verify`` that concern the stream: markers without records, dead consumers.

A marker without a record was acknowledged. While its event waits in the stream or is a dead
letter, it is still to be handled. If its inference was removed, it is a leftover. Otherwise the
event was lost, and ``--repair`` publishes it again. That has a time limit: once a tombstone has
been freed, a lost inference cannot be told from a removed one, and repair must not bring back
what was removed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

from django.conf import settings

from inferences.maintenance.orphan_blobs import Fate
from inferences.models import RegisteredModel
from inferences.store.lookup import keys_of
from ingest.errors import Rejected
from ingest.events import InferenceEvent
from ingest.markers import read_event_of, read_marker
from ingest.models import DeadLetter
from ingest.reconciliation_state import already_processed
from ingest.stream import EventStream
from istore import blobs
from istore.checks.verification import Finding, Scope
from istore.db.clock import now

DEAD_AFTER = timedelta(days=1)  # without a read
WAITING = Fate()


def fates(model: RegisteredModel, folders: list[str], scope: Scope) -> dict[str, Fate]:
    """Return what became of the inferences whose markers no record names, by blob folder."""
    told: dict[str, Fate] = {}
    aside = DeadLetter.objects.filter(
        metadata_storage_key__in=[_marker(each) for each in folders], replayed_at=None
    )
    for key in aside.values_list("metadata_storage_key", flat=True):
        told[key.rpartition("/")[0]] = WAITING
    events: dict[str, InferenceEvent] = {}
    for folder in folders:
        if folder not in told:
            try:
                events[folder] = read_event_of(read_marker(blobs.get(_marker(folder))))
            except FileNotFoundError:
                told[folder] = WAITING  # it was removed meanwhile
            except Rejected as refused:
                found = Finding("marker-unreadable", folder, str(refused)[:200])
                told[folder] = Fate(finding=found)
    named = {folder: event.inference_id for folder, event in events.items()}
    done = already_processed(model, named)
    keys = keys_of(model, named.values())
    removed = {name for name, key in keys.items() if key.removed_at}
    # These were stored meanwhile, or under another id, so a record names them after all.
    told |= {each: Fate(removed=named[each] in removed) for each in done}
    lost = {folder: each for folder, each in events.items() if folder not in done}
    return told | _lost(lost, scope)


def _lost(events: dict[str, InferenceEvent], scope: Scope) -> dict[str, Fate]:
    """Return the fates of unhandled events; none is lost while the stream holds any entry."""
    if not events:
        return {}
    oldest = scope.at - timedelta(days=settings.ISTORE_TOMBSTONE_DAYS)
    with closing(EventStream()) as stream:
        lag = stream.lag()
        if lag.waiting or lag.pending:
            return dict.fromkeys(events, WAITING)
        told = {}
        for folder, event in events.items():
            may_return = event.event_published_at > oldest
            if scope.repair and may_return:
                stream.publish([replace(event, event_published_at=now())])
            said = "Acknowledged, and not in the store."
            if not may_return:
                said += " Too old to tell whether it was removed."
            mended = scope.repair and may_return
            told[folder] = Fate(finding=Finding("unrecorded", folder, said, mended))
        return told


def _marker(folder: str) -> str:
    return f"{folder}/{blobs.METADATA}"


def dead_consumers(scope: Scope) -> Iterator[Finding]:
    """Yield the consumers of the group that have not read for a day and hold nothing."""
    with closing(EventStream()) as stream:
        for name in stream.idle_consumers(DEAD_AFTER):
            gone = scope.repair and stream.remove_consumer(name)
            yield Finding("dead-consumer", name, "Idle for over a day.", gone)
