"""The state of the stream and its listener, for the operator page."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from typing import Any

from ingest import heartbeat
from ingest.models import DeadLetter
from ingest.stream import EventStream


def stream() -> dict[str, Any]:
    """Return lag, age of the heartbeat, and number of dead letters.

    Raises ``redis.RedisError`` when the stream does not answer.
    """
    with closing(EventStream()) as events:
        lag = events.lag()
    seconds = heartbeat.age()
    return {
        "lag": lag,
        "age": None if seconds is None else timedelta(seconds=seconds),
        "aside": DeadLetter.objects.filter(replayed_at=None).count(),
    }
