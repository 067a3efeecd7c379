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
from typing import Any

from django.conf import settings

from inferences.maintenance.orphan_blobs import Fate
from inferences.models import RegisteredModel
from inferences.store.lookup import keys_of
from ingest.dead_letters import with_inputs_of_letters
from ingest.errors import Rejected
from ingest.events import InferenceEvent
from ingest.markers import read_event_of, read_marker
from ingest.models import DeadLetter
from ingest.reconciliation_state import (
    already_processed,
    id_of_other,
    is_copy_of,
    is_stored,
    still_in_place,
)
from ingest.record_builder import content_hash_of
from ingest.stream import EventStream
from istore import blobs
from istore.checks.verification import Finding, Scope
from istore.db.clock import now

DEAD_AFTER = timedelta(days=1)  # without a read
WAITING = Fate()


def fates(model: RegisteredModel, markers: list[str], scope: Scope) -> dict[str, Fate]:
    """Return what became of the inferences whose markers no record names, by marker."""
    told: dict[str, Fate] = {}
    aside = DeadLetter.objects.filter(
        metadata_storage_key__in=markers, replayed_at=None
    )
    for key in aside.values_list("metadata_storage_key", flat=True):
        told[key] = WAITING
    events: dict[str, InferenceEvent] = {}
    ids: dict[str, set[str]] = {}  # of the record that each has, or would have had
    for marker in markers:
        if marker not in told:
            try:
                value = read_marker(blobs.get(marker))
                events[marker] = event = read_event_of(value, marker)
                ids[marker] = {event.inference_id, _other_id(event, value)}
            except FileNotFoundError:
                told[marker] = WAITING  # it was removed meanwhile
            except Rejected as refused:
                found = Finding("marker-unreadable", _name(marker), str(refused)[:200])
                told[marker] = Fate(finding=found)
    copies = {blobs.copy_name(e.inference_storage_key): m for m, e in events.items()}
    named = {copy: events[marker].inference_id for copy, marker in copies.items()}
    done = already_processed(model, named)
    keys = keys_of(model, set().union(*ids.values()))
    removed = {name for name, key in keys.items() if key.removed_at}
    told |= {
        marker: Fate(removed=True)
        for copy, marker in copies.items()
        if ids[marker] & removed and not is_stored(model, copy, named[copy])
    }
    # These were stored meanwhile, or under another id, so a record names them after all.
    told |= {copies[each]: WAITING for each in done if copies[each] not in told}
    # A copy is left over where it was dropped, and the process killed.
    told |= {
        marker: Fate(is_copy=True)
        for marker, event in events.items()
        if marker not in told
        and (held := keys.get(event.inference_id)) is not None
        and held.row_id is not None
        and is_copy_of(marker, model, held.row_id)
    }
    left = {marker: each for marker, each in events.items() if marker not in told}
    in_place = still_in_place(left.values())
    lost = {marker: each for marker, each in left.items() if each in in_place}
    return dict.fromkeys(left, WAITING) | told | _lost(lost, scope)


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
        for marker, event in events.items():
            may_return = event.event_published_at > oldest
            if scope.repair and may_return:
                (moved,) = with_inputs_of_letters([event])
                stream.publish([replace(moved, event_published_at=now())])
            said = "Acknowledged, and not in the store."
            if not may_return:
                said += " Too old to tell whether it was removed."
            mended = scope.repair and may_return
            found = Finding("unrecorded", _name(marker), said, mended)
            told[marker] = Fate(finding=found)
        return told


def _other_id(event: InferenceEvent, marker: dict[str, Any]) -> str:
    """Return the id of the record if its own was taken by other content."""
    try:
        return id_of_other(event.inference_id, content_hash_of(marker))
    except Rejected:
        return event.inference_id


def _name(marker: str) -> str:
    """Return what a finding names: the folder of a marker, or its member of a pack."""
    return marker.removesuffix(f"/{blobs.METADATA}")


def dead_consumers(scope: Scope) -> Iterator[Finding]:
    """Yield the consumers of the group that have not read for a day and hold nothing."""
    with closing(EventStream()) as stream:
        for name in stream.idle_consumers(DEAD_AFTER):
            gone = scope.repair and stream.remove_consumer(name)
            yield Finding("dead-consumer", name, "Idle for over a day.", gone)
