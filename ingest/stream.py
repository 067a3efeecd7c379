"""All that speaks Redis Streams: the doorbell between proxy and listener.

The stream may vanish with its server at any moment. Nothing is lost by that: blobs and
PostgreSQL are the truth, and reconcile rings again. So a missing group is made anew, from
the beginning of the stream, wherever its absence is noticed.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from types import NoneType
from typing import Any, TypeVar

from django.conf import settings
from redis.exceptions import ResponseError

from ingest.events import InferenceEvent
from istore.tasks.broker import WrongReply, connect, reading

STREAM, GROUP, FIELD = "istore:events", "listener", b"event"
PUBLISH_AT_ONCE = 500
COUNT_AT_ONCE = 10_000
SECONDS, BLOCK_SECONDS = 5, 5
RECLAIM_ROUNDS = 10_000
ENTRY_ID = re.compile(rb"[0-9]{1,20}-[0-9]{1,20}")
# What Redis says to a reader whose group, or stream, went while it waited.
GROUP_IS_GONE = ("NOGROUP", "UNBLOCKED")

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Entry:
    """One event as it lies in the stream; its payload has not been looked at."""

    id: str
    payload: bytes
    deliveries: int


@dataclass(frozen=True, slots=True)
class Lag:
    """``waiting`` were never delivered; ``pending`` were, and are not acknowledged."""

    waiting: int
    pending: int


class EventStream:
    """The stream, seen by one consumer of its group. Raises ``redis.RedisError``."""

    def __init__(self, url: str | None = None, consumer: str | None = None) -> None:
        self.consumer = consumer or f"{socket.gethostname()}-{os.getpid()}"
        url = url or settings.ISTORE_REDIS_URL
        # Callers know better than the client when, and whether, to try again.
        self._redis = connect(url, seconds=SECONDS)
        # The server may be silent for as long as a read blocks, and no longer.
        self._reader = connect(url, seconds=BLOCK_SECONDS + SECONDS)

    def close(self) -> None:
        self._redis.close()
        self._reader.close()

    def publish(self, events: Iterable[InferenceEvent]) -> None:
        """Append the events, in order. After an error some of them may be there."""
        payloads = [event.to_json() for event in events]
        for start in range(0, len(payloads), PUBLISH_AT_ONCE):
            pipeline = self._redis.pipeline(transaction=False)
            for payload in payloads[start : start + PUBLISH_AT_ONCE]:
                pipeline.xadd(STREAM, {FIELD: payload})
            with self._reading("XADD"):
                ids = pipeline.execute()
                if not all(map(ENTRY_ID.fullmatch, ids)):
                    raise WrongReply("An event was not given a place.")

    def ensure_group(self) -> None:
        """The group exists; a new one begins with the first entry of the stream."""
        try:
            with self._reading("XGROUP"):
                self._redis.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    def read(self, count: int, block_ms: int) -> list[Entry]:
        """Entries nobody has had yet; waits up to ``block_ms`` for the first one."""
        block_ms = min(block_ms, BLOCK_SECONDS * 1000)
        return self._in_group(lambda: self._read(count, block_ms))

    def _read(self, count: int, block_ms: int) -> list[Entry]:
        with self._reading("XREADGROUP"):
            answer = self._reader.xreadgroup(
                GROUP, self.consumer, {STREAM: ">"}, count=count, block=block_ms
            )
            return [
                _entry(each, 1)
                for name, entries in answer or ()
                if name == STREAM.encode()
                for each in entries
            ]

    def reclaim(self, count: int, idle_ms: int) -> list[Entry]:
        """Entries that were delivered, to anyone, and not acknowledged for that long.

        They are this consumer's now, with a delivery more.
        """
        with self._reading("XAUTOCLAIM"):
            return self._in_group(lambda: self._reclaim(count, idle_ms))

    def acknowledge(self, ids: Sequence[str]) -> None:
        if ids:
            with self._reading("XACK"):
                count = self._redis.xack(STREAM, GROUP, *ids)
                if not isinstance(count, int):
                    raise WrongReply("Entries were not acknowledged.")

    def trim(self) -> int:
        """Drop what every group has acknowledged; how many entries went."""
        with self._reading("XTRIM"):
            return self._trim()

    def _trim(self) -> int:
        groups = self._groups()
        limits = [self._lowest_needed(group) for group in groups]
        if not limits:
            return 0
        oldest = min(limits, key=_order)
        return self._redis.xtrim(STREAM, minid=oldest, approximate=False)

    def lag(self) -> Lag:
        with self._reading("XINFO"):
            return self._lag()

    def _lag(self) -> Lag:
        group = next((g for g in self._groups() if g["name"] == GROUP.encode()), None)
        if group is None:
            return Lag(self._redis.xlen(STREAM), 0)
        waiting = group.get("lag")  # unknown after entries were deleted by hand
        if waiting is None:
            waiting = self._count_after(group["last-delivered-id"].decode())
        return Lag(waiting, group["pending"])

    def idle_consumers(self, longer_than: timedelta) -> list[str]:
        """Consumers that hold nothing and have not asked for that long."""
        try:
            with self._reading("XINFO"):
                return self._idle_consumers(longer_than)
        except ResponseError as error:
            if "no such key" in str(error).lower() or str(error).startswith("NOGROUP"):
                return []
            raise

    def _idle_consumers(self, longer_than: timedelta) -> list[str]:
        consumers = self._redis.xinfo_consumers(STREAM, GROUP)
        least = longer_than.total_seconds() * 1000
        return [
            each["name"].decode()
            for each in consumers
            if not each["pending"] and each["idle"] > least
        ]

    def remove_consumer(self, name: str) -> bool:
        """Forget a consumer. What it was given since then stays pending nowhere, so a
        name that got an entry meanwhile is kept."""
        with self._reading("XPENDING"):
            mine = self._redis.xpending_range(STREAM, GROUP, "-", "+", 1, name)
            if mine:
                return False
            self._redis.xgroup_delconsumer(STREAM, GROUP, name)
            return True

    def _reading(self, command: str) -> AbstractContextManager[None]:
        return reading(command, self._redis, self._reader)

    def _reclaim(self, count: int, idle_ms: int) -> list[Entry]:
        found: list[Any] = []
        cursor = b"0-0"
        for _ in range(RECLAIM_ROUNDS):
            cursor, entries, _deleted = self._redis.xautoclaim(
                STREAM,
                GROUP,
                self.consumer,
                min_idle_time=idle_ms,
                start_id=cursor,
                count=count - len(found),
            )
            found += entries
            if cursor == b"0-0" or len(found) >= count:
                break
        deliveries = self._deliveries([entry_id for entry_id, _ in found])
        return [_entry(*pair) for pair in zip(found, deliveries, strict=True)]

    def _deliveries(self, ids: Sequence[bytes]) -> list[int]:
        pipeline = self._redis.pipeline(transaction=False)
        for entry_id in ids:
            pipeline.xpending_range(STREAM, GROUP, entry_id, entry_id, 1)
        answers = pipeline.execute()
        return [each[0]["times_delivered"] if each else 1 for each in answers]

    def _in_group(self, ask: Callable[[], Result]) -> Result:
        try:
            return ask()
        except ResponseError as error:
            if not str(error).startswith(GROUP_IS_GONE):
                raise
            self.ensure_group()
            return ask()

    def _groups(self) -> list[dict[str, Any]]:
        try:
            return self._redis.xinfo_groups(STREAM)
        except ResponseError as error:
            if "no such key" in str(error).lower():
                return []
            raise

    def _lowest_needed(self, group: dict[str, Any]) -> str:
        """The oldest pending entry, else the last delivered: all after it is needed."""
        pending = self._redis.xpending(STREAM, group["name"])
        return (pending["min"] or group["last-delivered-id"]).decode()

    def _count_after(self, entry_id: str) -> int:
        count, last = 0, entry_id
        while True:
            page = self._redis.xrange(STREAM, min=f"({last}", count=COUNT_AT_ONCE)
            count += len(page)
            if len(page) < COUNT_AT_ONCE:
                return count
            end = page[-1][0].decode()
            if _order(end) <= _order(last):
                raise WrongReply("A range does not go on.")
            last = end


def _entry(raw: tuple[bytes, dict[bytes, bytes]], deliveries: int) -> Entry:
    entry_id, values = raw
    if not ENTRY_ID.fullmatch(entry_id) or not isinstance(values, dict | NoneType):
        raise WrongReply("It is no entry of a stream.")
    return Entry(entry_id.decode(), (values or {}).get(FIELD, b""), deliveries)


def _order(entry_id: str) -> tuple[int, int]:
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds), int(number)
