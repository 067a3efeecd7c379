"""Streams whose copies are missing: the proxy told ``streaming``, and no record followed.

The proxy notes an id when it answers ``streaming``, deletes the note when the copy is in
the spool, and writes the reason when there will be no copy. A note without a reason belongs
to a stream that is still running, or to a proxy that ended meanwhile. Notes are kept in
Redis for a week. Without Redis nobody is told, and nothing else depends on it.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import orjson
import redis
from django.conf import settings
from redis.exceptions import RedisError

from inferences.models import RegisteredModel
from istore.accounts.access import Caller
from istore.checks.operations import sees_every_model
from istore.tasks.broker import connect, reading

KEPT_SECONDS = 7 * 86_400
RECENT = "istore:lost-copies"  # the list of the latest, for the operator page
RECENT_MOST = 20
ANSWER_SECONDS = 1


@dataclass(frozen=True, slots=True)
class LostCopy:
    """A note about one stream. ``reason`` is empty until it is sure that no copy will come."""

    model_id: str
    began_at: str
    reason: str = ""

    def as_json(self) -> bytes:
        return orjson.dumps(self)

    @classmethod
    def read(cls, text: bytes) -> LostCopy | None:
        """Return the note of its JSON text, or None if it is none."""
        try:
            return cls(**orjson.loads(text))
        except (ValueError, TypeError):
            return None

    @property
    def message(self) -> str:
        """The note as a sentence for people."""
        if self.reason:
            return (
                f"A stream with this id began at {self.began_at} and was not "
                f"recorded: {self.reason}."
            )
        return (
            f"A stream with this id began at {self.began_at}, and its copy has not "
            "come: the stream goes on, or the proxy ended before it did."
        )


def key_of(model_key: int, inference_id: str) -> str:
    """Return the Redis key of the note about this id."""
    return f"istore:copy:{model_key}:{inference_id}"


def find_lost_copy(model: RegisteredModel, inference_id: str) -> LostCopy | None:
    """Return the note of an id that has no record; None without a note or without Redis."""
    client = _client()
    try:
        with reading("GET", client):
            found = client.get(key_of(model.pk, inference_id))
    except RedisError:
        return None
    return LostCopy.read(found) if isinstance(found, bytes) else None


def recent_lost_copies() -> list[LostCopy]:
    """Return the latest streams without a copy, newest first; none while Redis is down."""
    found: list[Any] = []
    client = _client()
    with suppress(RedisError), reading("LRANGE", client):
        found = client.lrange(RECENT, 0, RECENT_MOST - 1)
    copies = (LostCopy.read(each) for each in found)
    return [copy for copy in copies if copy is not None]


@cache
def _client() -> redis.Redis:
    return connect(settings.ISTORE_REDIS_URL, seconds=ANSWER_SECONDS)


def panel(caller: Caller | None = None) -> dict[str, Any]:
    """Return the panel of the operator page; empty for staff who may not see all models."""
    return {"lost": recent_lost_copies() if sees_every_model(caller) else []}
