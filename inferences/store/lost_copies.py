"""Ids of streams whose copies have not come: what the proxy promised and could not keep.

The proxy notes an id when it tells ``streaming``, takes it away when the copy lies in the
spool, and writes the reason when there will be none. An id whose note says nothing more than
its beginning is of a stream that still passes, or of a proxy that ended meanwhile. The notes
are kept in Redis, for a week: without Redis nobody is told, and nothing else depends on it.
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
RECENT = "istore:lost-copies"  # the last of them, for the operator page
RECENT_MOST = 20
ANSWER_SECONDS = 1


@dataclass(frozen=True, slots=True)
class LostCopy:
    """``reason`` is empty while nobody has said that there will be no copy."""

    model_id: str
    began_at: str
    reason: str = ""

    def as_json(self) -> bytes:
        return orjson.dumps(self)

    @classmethod
    def read(cls, text: bytes) -> LostCopy | None:
        try:
            return cls(**orjson.loads(text))
        except (ValueError, TypeError):
            return None

    @property
    def message(self) -> str:
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
    return f"istore:copy:{model_key}:{inference_id}"


def find_lost_copy(model: RegisteredModel, inference_id: str) -> LostCopy | None:
    """What is noted of an id that has no record; None when that is nothing."""
    client = _client()
    try:
        with reading("GET", client):
            found = client.get(key_of(model.pk, inference_id))
    except RedisError:
        return None
    return LostCopy.read(found) if isinstance(found, bytes) else None


def recent_lost_copies() -> list[LostCopy]:
    """The last streams without a copy, newest first; none when Redis is away."""
    found: list[Any] = []
    client = _client()
    with suppress(RedisError), reading("LRANGE", client):
        found = client.lrange(RECENT, 0, RECENT_MOST - 1)
    copies = (LostCopy.read(each) for each in found)
    return [each for each in copies if each is not None]


@cache
def _client() -> redis.Redis:
    return connect(settings.ISTORE_REDIS_URL, seconds=ANSWER_SECONDS)


def panel(caller: Caller | None = None) -> dict[str, Any]:
    """For the operator page; empty for staff that may not know all models."""
    return {"lost": recent_lost_copies() if sees_every_model(caller) else []}
