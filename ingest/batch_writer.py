"""Write one batch of events; delete the blobs of duplicates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import structlog
from botocore.exceptions import BotoCoreError, ClientError

from inferences.models import RegisteredModel
from inferences.store.recording import NewInference, Outcome, record
from ingest import telemetry
from ingest.blob_fetcher import raise_if_away
from ingest.errors import Reason, Rejected, Retryable
from ingest.metrics import Counts
from ingest.reconciliation_state import copies_beside, copies_of, id_of_other
from ingest.record_builder import Composed
from ingest.retries import RetryWhileUnavailable, Stopping, StoreAway
from ingest.stream import Entry
from istore import blobs
from istore.blobs.storage_failures import STORAGE_FAILURES
from istore.log_values import describe

log = structlog.get_logger(__name__)

Refusals = list[tuple[Entry, Rejected]]
Outcomes = list[tuple[Composed, Outcome]]


class Storing:
    """Writes composed records into the store, model by model."""

    def __init__(self, outages: RetryWhileUnavailable, counts: Counts) -> None:
        self._outages = outages
        self._counts = counts

    def store(self, portion: list[Composed]) -> Refusals:
        """Record a batch, and return the events that were rejected, with their reasons."""
        refused: Refusals = []
        for model, group in _by_model(portion).items():
            for batch in _with_each_id_once(group):
                self._store_of(model, batch, refused)
        return refused

    def _store_of(
        self, model: RegisteredModel, batch: list[Composed], refused: Refusals
    ) -> None:
        outcomes = self._record(model, batch, refused)
        others = [
            _under_another_id(each) for each, kind in outcomes if kind is Outcome.OTHER
        ]
        again = [
            pair
            for some in _with_each_id_once(others)
            for pair in self._record(model, some, refused)
        ]
        for each, kind in again:
            if kind is Outcome.OTHER:
                why = f"{each.new.inference_id!r} is taken by other content, too."
                refused.append((each.arrival.entry, Rejected(Reason.ID_TAKEN, why)))
        settled = [pair for pair in outcomes + again if pair[1] is not Outcome.OTHER]
        for _, kind in settled:
            self._counts.count(COUNTED[kind])
        self._counts.count("other_content", len(others))
        telemetry.observe_delays(
            [each.arrival.event.request_received_at for each, _ in settled],
            datetime.now(UTC),
        )
        self._drop_blobs(model, settled)

    def _record(
        self, model: RegisteredModel, batch: list[Composed], refused: Refusals
    ) -> Outcomes:
        """Record a batch; if that fails, halve it until the bad event is alone, and reject that."""
        new = [each.new for each in batch]
        try:
            outcomes = self._outages.call(lambda: _record(model, new))
        except Stopping:
            raise
        except Exception as error:
            if len(batch) > 1:
                half = len(batch) // 2
                return [
                    *self._record(model, batch[:half], refused),
                    *self._record(model, batch[half:], refused),
                ]
            entry = batch[0].arrival.entry
            why = self._outages.call(partial(_why, model, error))
            refused.append((entry, why))
            named = {"request_id": entry.request_id} if entry.request_id else {}
            why_failed = describe(error)
            log.warning("event failed", stream_id=entry.id, error=why_failed, **named)
            return []
        return [(each, outcomes[each.new.inference_id]) for each in batch]

    def _drop_blobs(self, model: RegisteredModel, settled: Outcomes) -> None:
        """Delete the blobs that no record names, of duplicates and of removed inferences.

        The blobs that the stored record names are never among them.
        """
        gone = [each for each, kind in settled if kind is Outcome.REMOVED]
        copies = [each for each, kind in settled if kind is Outcome.COPY]
        if not gone and not copies:
            return
        ids = {each.new.inference_id for each in copies}
        stored = self._outages.call(lambda: copies_of(model, ids))
        named = set().union(*stored.values())
        for each in gone:
            # An earlier delivery of the event may have been stored beside the removed one.
            wanted = each.arrival.event.inference_id
            named |= self._outages.call(partial(copies_beside, model, wanted))
        orphans = [
            each.arrival
            for each in (*gone, *(c for c in copies if c.new.inference_id in stored))
            if each.arrival.copy_name not in named
        ]
        # The records go last: while a marker is there, reconcile finds the rest after a crash.
        events = [orphan.event for orphan in orphans]
        inputs = [each.data_storage_key for each in events]
        for keys in (
            [key for key in inputs if blobs.copy_name(key) not in named],
            [each.inference_storage_key for each in events],
            [e.event.metadata_storage_key for e in orphans if not e.is_packed],
        ):
            if keys:
                self._outages.call(partial(_delete, keys))


def _record(model: RegisteredModel, new: list[NewInference]) -> dict[str, Outcome]:
    """Record a batch. Raises ``StoreAway`` if the texts of its inputs cannot be read for now."""
    try:
        return record(model, new)
    except STORAGE_FAILURES as error:
        raise StoreAway(str(error)) from error


def _by_model(portion: list[Composed]) -> dict[RegisteredModel, list[Composed]]:
    groups: dict[RegisteredModel, list[Composed]] = {}
    for composed in portion:
        groups.setdefault(composed.arrival.model, []).append(composed)
    return groups


def _with_each_id_once(group: list[Composed]) -> Iterator[list[Composed]]:
    """Yield batches that have each id once, as ``record`` demands; a repeat is in the next."""
    while group:
        once: dict[str, Composed] = {}
        again = []
        for each in group:
            if once.setdefault(each.new.inference_id, each) is not each:
                again.append(each)
        yield list(once.values())
        group = again


def _under_another_id(each: Composed) -> Composed:
    """Return the record under an id made of its own and its content.

    So nothing is overwritten and nothing lost, and a repeat of the content gets the same id.
    """
    taken = each.new.inference_id
    notes = dict(each.new.notes)
    notes["warnings"] = [
        *notes.get("warnings", ()),
        f"{taken!r:.300} was taken by other content.",
    ]
    other = id_of_other(taken, each.new.content_hash)
    return replace(each, new=replace(each.new, inference_id=other, notes=notes))


def _why(model: RegisteredModel, error: Exception) -> Rejected:
    """Return why the database rejected an event; it is retryable if its model was removed."""
    if not RegisteredModel.objects.filter(pk=model.pk).exists():
        return Retryable(Reason.UNKNOWN_MODEL, f"{model} was removed.")
    return Rejected(Reason.REFUSED, f"{type(error).__name__}: {error}")


def _delete(keys: list[str]) -> None:
    try:
        blobs.delete(keys)
    except (OSError, ClientError, BotoCoreError) as error:
        raise_if_away(error)
        log.exception("blobs of copies could not be removed", count=len(keys))


COUNTED = {
    Outcome.NEW: "recorded",
    Outcome.COPY: "copies",
    Outcome.REMOVED: "removed",
}
