"""The state of the listener, for the operator page. What waits is in the panel of the backlog."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from ingest import heartbeat
from ingest.models import DeadLetter


def stream() -> dict[str, Any]:
    """Return the age of the heartbeat, and the number of dead letters."""
    seconds = heartbeat.age()
    return {
        "age": None if seconds is None else timedelta(seconds=seconds),
        "aside": DeadLetter.objects.filter(replayed_at=None).count(),
    }
