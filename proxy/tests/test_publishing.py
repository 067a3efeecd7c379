from __future__ import annotations

from datetime import UTC, datetime, timedelta
from threading import Event

from redis.exceptions import ConnectionError as RedisAway

from ingest.events import InferenceEvent
from proxy.publishing import Publisher


class Flaky:
    """A stream that is away for a while."""

    def __init__(self, failures: int) -> None:
        self.failures, self.published = failures, []

    def publish(self, events):
        if self.failures:
            self.failures -= 1
            raise RedisAway
        self.published += events


def event(received: datetime) -> InferenceEvent:
    names = ("model_id", "inference_id", "data_storage_key", "inference_storage_key")
    moments = ("received", "forwarded", "responded")
    return InferenceEvent(
        **dict.fromkeys(names, "x"),
        **{f"request_{moment}_at": received for moment in moments},
        event_published_at=received,
        metadata_storage_key="x",
    )


def test_a_late_publication_says_when_it_was():
    old = event(datetime.now(UTC) - timedelta(hours=2))
    stream = Flaky(failures=1)

    assert Publisher(Event(), stream).publish([old])

    (published,) = stream.published
    assert datetime.now(UTC) - published.event_published_at < timedelta(seconds=10)
    assert published.request_received_at == old.request_received_at


def test_while_redis_is_away_events_are_left_to_reconcile():
    stream = Flaky(failures=100)

    assert Publisher(Event(), stream).publish([event(datetime.now(UTC))])
    assert not stream.published


def test_events_too_old_for_reconcile_wait_until_told_to_stop():
    stop = Event()
    stop.set()
    ancient = event(datetime.now(UTC) - timedelta(days=3))

    assert not Publisher(stop, Flaky(failures=1)).publish([ancient])
