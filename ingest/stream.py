"""Everything that speaks Redis Streams: the queue between proxy and listener.

The stream may vanish with its server at any moment. Nothing is lost by that: the truth is in the
blob store and PostgreSQL, and reconcile publishes the events again. So a missing consumer group
is created again, from the beginning of the stream, wherever its absence is noticed.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import astuple, dataclass
from datetime import timedelta
from types import NoneType
from typing import Any, TypeVar

from django.conf import settings
from redis.exceptions import ResponseError

from ingest.events import InferenceEvent
from istore.tasks.broker import WrongReply, connect, reading
from istore.telemetry import request_ids

STREAM, GROUP, FIELD = "istore:events", "listener", b"event"
REQUEST_ID, TRACEPARENT = b"request_id", b"traceparent"  # fields that few entries have
# Bytes that capture took out of spools; samples of counters; set while no sample is due.
CAPTURED, SAMPLES, SAMPLED = f"{STREAM}:captured", f"{STREAM}:samples", f"{STREAM}:last"
SAMPLE_SECONDS, SAMPLED_SECONDS = 5, 120  # between samples; the oldest that counts
PUBLISH_AT_ONCE = 500  # events in one pipeline
COUNT_AT_ONCE = 10_000  # entries read at a time to count them
SECONDS, BLOCK_SECONDS = 5, 5  # socket timeout; the longest that a read blocks
RECLAIM_ROUNDS = 10_000  # of one XAUTOCLAIM scan: it must end whatever the cursor says
ENTRY_ID = re.compile(rb"[0-9]{1,20}-[0-9]{1,20}")
# The errors that a reader gets when its group or stream was removed while it waited.
GROUP_IS_GONE = ("NOGROUP", "UNBLOCKED")

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the stream; its payload has not been parsed."""

    id: str
    payload: bytes
    deliveries: int
    request_id: str = ""
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class Lag:
    """Counts of entries: ``waiting`` were never delivered; ``pending`` are not acknowledged."""

    waiting: int
    pending: int


@dataclass(frozen=True, slots=True)
class Progress:
    """Counters at one moment: bytes captured, events published, events delivered."""

    at: float  # seconds, by the clock of Redis
    captured: int
    added: int
    read: int


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits in the stream, since when in seconds, and the progress of the last minutes."""

    lag: Lag
    oldest: float | None
    progress: list[Progress]  # oldest first; the last one is of now

    def rate_of(self, counter: str) -> float | None:
        """Return by how much a counter of ``Progress`` grows in a second; None if unknown."""
        first, last = self.progress[0], self.progress[-1]
        seconds = last.at - first.at
        if seconds < SAMPLE_SECONDS:
            return None
        grown: float = getattr(last, counter) - getattr(first, counter)
        return max(0, grown) / seconds


class EventStream:
    """The stream, as one consumer of its group. Methods raise ``redis.RedisError``."""

    def __init__(self, url: str | None = None, consumer: str | None = None) -> None:
        # Containers share names and numbers: two consumers of one name would be one.
        place = f"{socket.gethostname()}-{os.getpid()}"
        self.consumer = consumer or f"{place}-{secrets.token_hex(4)}"
        url = url or settings.ISTORE_REDIS_URL
        # These connections do not retry: callers know better when, and whether, to do so.
        self._redis = connect(url, seconds=SECONDS)
        # A read may block, so its socket timeout is longer by that time.
        self._reader = connect(url, seconds=BLOCK_SECONDS + SECONDS)

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()
        self._reader.close()

    def publish(self, events: Iterable[InferenceEvent]) -> None:
        """Append the events, in order. After an error some of them may have been appended."""
        entries = [_fields_of(event) for event in events]
        for start in range(0, len(entries), PUBLISH_AT_ONCE):
            pipeline = self._redis.pipeline(transaction=False)
            for each in entries[start : start + PUBLISH_AT_ONCE]:
                pipeline.xadd(STREAM, each)
            with self._reading("XADD"):
                ids = pipeline.execute()
                if not all(map(ENTRY_ID.fullmatch, ids)):
                    raise WrongReply("An event was not given a place.")

    def ensure_group(self) -> None:
        """Create the group unless it exists; a new one begins with the oldest entry."""
        try:
            with self._reading("XGROUP"):
                self._redis.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    def read(self, count: int, block_ms: int) -> list[Entry]:
        """Return entries that were never delivered; wait up to ``block_ms`` for the first one."""
        block_ms = min(block_ms, BLOCK_SECONDS * 1000)
        return self._in_group(lambda: self._read(count, block_ms))

    def _read(self, count: int, block_ms: int) -> list[Entry]:
        with self._reading("XREADGROUP"):
            reply: Any = self._reader.xreadgroup(
                GROUP, self.consumer, {STREAM: ">"}, count=count, block=block_ms
            )
            return [
                _entry(entry, 1)
                for name, entries in reply or ()
                if name == STREAM.encode()
                for entry in entries
            ]

    def reclaim(self, count: int, idle_ms: int) -> list[Entry]:
        """Return entries of any consumer that are pending since ``idle_ms`` milliseconds.

        They belong to this consumer now, and have one delivery more.
        """
        with self._reading("XAUTOCLAIM"):
            return self._in_group(lambda: self._reclaim(count, idle_ms))

    def acknowledge(self, ids: Sequence[str]) -> None:
        """Acknowledge the entries: they are not pending any more."""
        if ids:
            with self._reading("XACK"):
                count = self._redis.xack(STREAM, GROUP, *ids)
                if not isinstance(count, int):
                    raise WrongReply("Entries were not acknowledged.")

    def trim(self) -> int:
        """Drop what every group has acknowledged, and return how many entries that were."""
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
        """Return how far the listener is behind."""
        with self._reading("XINFO"):
            return self._lag()

    def _lag(self) -> Lag:
        group = next((g for g in self._groups() if g["name"] == GROUP.encode()), None)
        if group is None:
            return Lag(self._redis.xlen(STREAM), 0)
        waiting = group.get("lag")  # Redis does not know it after entries were deleted
        if waiting is None:
            waiting = self._count_after(group["last-delivered-id"].decode())
        return Lag(waiting, group["pending"])

    def note_progress(self, captured_bytes: int = 0) -> None:
        """Add to the bytes captured, and keep a sample of all counters if one is due."""
        with self._reading("INCRBY"):
            self._redis.incrby(CAPTURED, captured_bytes)
            if not self._redis.set(SAMPLED, 1, nx=True, ex=SAMPLE_SECONDS):
                return
            sample = json.dumps(astuple(self._progress(self._lag())))
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.rpush(SAMPLES, sample)
            pipeline.ltrim(SAMPLES, -(SAMPLED_SECONDS // SAMPLE_SECONDS), -1)
            pipeline.expire(SAMPLES, SAMPLED_SECONDS)
            pipeline.execute()

    def backlog(self) -> Backlog:
        """Return what waits, and how fast it was worked off lately."""
        with self._reading("XINFO"):
            lag = self._lag()
            now = self._progress(lag)
            kept = [
                Progress(*json.loads(each))
                for each in self._redis.lrange(SAMPLES, 0, -1)
            ]
            recent = [each for each in kept if now.at - each.at <= SAMPLED_SECONDS]
            oldest = self._oldest()
        age = None if oldest is None else max(0.0, now.at - oldest)
        return Backlog(lag, age, [*recent, now])

    def _progress(self, lag: Lag) -> Progress:
        seconds, micros = self._redis.time()
        captured = int(self._redis.get(CAPTURED) or 0)
        added = 0
        if self._redis.exists(STREAM):
            added = self._redis.xinfo_stream(STREAM).get("entries-added", 0)
        return Progress(seconds + micros / 1e6, captured, added, added - lag.waiting)

    def _oldest(self) -> float | None:
        """Return when the oldest event was added that is not acknowledged; None without one."""
        group = next((g for g in self._groups() if g["name"] == GROUP.encode()), None)
        start = "-"
        if group is not None:
            oldest = self._redis.xpending(STREAM, GROUP)["min"]
            if isinstance(oldest, bytes):
                return _order(oldest.decode())[0] / 1000
            start = f"({group['last-delivered-id'].decode()}"
        found: Any = self._redis.xrange(STREAM, min=start, count=1)
        return _order(found[0][0].decode())[0] / 1000 if found else None

    def idle_consumers(self, longer_than: timedelta) -> list[str]:
        """Return the consumers that hold nothing and have read nothing for that long."""
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
            consumer["name"].decode()
            for consumer in consumers
            if not consumer["pending"] and consumer["idle"] > least
        ]

    def remove_consumer(self, name: str) -> bool:
        """Remove a consumer, and return whether that was done.

        One that holds an entry is kept: Redis would drop its pending entries, and nobody would
        reclaim them.
        """
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
        return [answer[0]["times_delivered"] if answer else 1 for answer in answers]

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
        """Return the group's oldest pending id, else its last delivered: what follows is needed."""
        pending = self._redis.xpending(STREAM, group["name"])
        lowest: bytes = pending["min"] or group["last-delivered-id"]
        return lowest.decode()

    def _count_after(self, entry_id: str) -> int:
        count, last = 0, entry_id
        while True:
            page: Any = self._redis.xrange(STREAM, min=f"({last}", count=COUNT_AT_ONCE)
            count += len(page)
            if len(page) < COUNT_AT_ONCE:
                return count
            end: str = page[-1][0].decode()
            if _order(end) <= _order(last):
                raise WrongReply("A range does not go on.")
            last = end


def _entry(raw: tuple[bytes, dict[bytes, bytes]], deliveries: int) -> Entry:
    entry_id, values = raw
    if not ENTRY_ID.fullmatch(entry_id) or not isinstance(values, dict | NoneType):
        raise WrongReply("It is no entry of a stream.")
    given = values or {}
    return Entry(
        entry_id.decode(),
        given.get(FIELD, b""),
        deliveries,
        request_ids.read(given.get(REQUEST_ID)),
        request_ids.read_traceparent(given.get(TRACEPARENT)),
    )


def _fields_of(event: InferenceEvent) -> dict[Any, Any]:
    fields: dict[Any, Any] = {FIELD: event.to_json()}
    if event.request_id:
        fields[REQUEST_ID] = event.request_id
    if event.traceparent:
        fields[TRACEPARENT] = event.traceparent
    return fields


def _order(entry_id: str) -> tuple[int, int]:
    """Return the sort key of an entry id, whose text does not sort."""
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds), int(number)
