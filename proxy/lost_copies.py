"""Notes about streams that left with an id, kept until their copies are in the spool.

Calls never wait for these notes. If a note cannot be written, only the notice by id is missing:
the lost copy is still counted as any other.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from django.conf import settings
from redis.asyncio import Redis
from redis.exceptions import RedisError

from inferences.store.lost_copies import (
    ANSWER_SECONDS,
    KEPT_SECONDS,
    RECENT,
    RECENT_MOST,
    LostCopy,
    key_of,
)
from proxy import timestamps

if TYPE_CHECKING:
    from proxy.exchange import Exchange

log = logging.getLogger(__name__)


class LostCopies:
    """The notes that one process writes; those of one stream are written in order."""

    def __init__(self) -> None:
        self._redis: Redis | None = None
        self._writing: dict[int, asyncio.Task[None]] = {}

    def expect(self, exchange: Exchange) -> None:
        """Note that a copy under the ids of this call was half promised by its headers."""
        self._write(exchange, self._note(exchange, ""))

    def settle(self, exchange: Exchange, reason: str) -> None:
        """Note that the copy is in the spool, or why there will be none."""
        if reason:
            log.warning("A stream was not recorded: %s", reason)
        self._write(exchange, self._note(exchange, reason), is_settled=not reason)

    def _note(self, exchange: Exchange, reason: str) -> LostCopy:
        began_at = timestamps.format_timestamp(exchange.received_at)
        return LostCopy(exchange.target.model_id, began_at, reason)

    def _write(
        self, exchange: Exchange, note: LostCopy, *, is_settled: bool = False
    ) -> None:
        place = id(exchange)
        model_key, ids = exchange.target.model_key, list(exchange.ids)
        keys = [key_of(model_key, each) for each in ids]
        before = self._writing.get(place)
        task = asyncio.get_running_loop().create_task(
            self._send(keys, note, is_settled, before)
        )
        self._writing[place] = task
        task.add_done_callback(lambda done: self._forget(place, done))

    def _forget(self, place: int, done: asyncio.Task[None]) -> None:
        if self._writing.get(place) is done:
            del self._writing[place]

    async def _send(
        self,
        keys: list[str],
        note: LostCopy,
        is_settled: bool,
        before: asyncio.Task[None] | None,
    ) -> None:
        if before is not None:
            await asyncio.wait((before,))
        if self._redis is None:  # made here: connections belong to the running loop
            self._redis = Redis.from_url(
                settings.ISTORE_REDIS_URL,
                socket_timeout=ANSWER_SECONDS,
                socket_connect_timeout=ANSWER_SECONDS,
            )
        steps = self._redis.pipeline(transaction=False)
        text = note.as_json()
        for key in keys:
            if is_settled:
                steps.delete(key)
            else:
                steps.set(key, text, ex=KEPT_SECONDS)
        if note.reason:
            steps.lpush(RECENT, text)
            steps.ltrim(RECENT, 0, RECENT_MOST - 1)
        try:
            await steps.execute()
        except (RedisError, OSError) as error:
            log.warning("The note of a stream was not written: %s", error)
