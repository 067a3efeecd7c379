"""Rate limits: ``ISTORE_RATE_PER_MINUTE`` calls of one caller in a minute of the clock.

A caller is a token, a person, or an address if neither is known. Calls are counted in Valkey,
for all processes together. While Valkey is unavailable each process counts by itself, so its
loss neither stops the store nor removes the limit. 0 switches the limit off.

A process draws numbers for a thousandth of the limit at once, so that most calls need no round
trip. What it does not use in that minute counts as called: a limit below 2,000 is exact, and a
larger one is reached early by a thousandth for each process at most.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from threading import Lock

import redis
from django.conf import settings

from istore.tasks.broker import connect, reading
from istore.web.client_address import address_key

MINUTE = 60
ANSWER_SECONDS = 0.25  # timeout: the rate limit must not delay a call
AWAY_SECONDS = 5.0  # after a failure Valkey is not asked again for this long
MOST_CALLERS = 100_000  # bounds the memory; beyond it all counts start again
DRAWS = 1000  # that use up a limit


class LocalCounts:
    """The calls of this minute by caller, in this process only. Safe for threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._minute = 0
        self._calls: Counter[str] = Counter()

    def add(self, caller: str, calls: int = 1) -> int:
        """Count the calls, and return how many the caller has made in this minute."""
        minute = int(time.time()) // MINUTE
        with self._lock:
            if minute != self._minute or len(self._calls) >= MOST_CALLERS:
                self._minute = minute
                self._calls.clear()
            self._calls[caller] += calls
            return self._calls[caller]


class SharedCounts:
    """The calls of this minute of all processes; of this one only while Valkey is unavailable."""

    def __init__(self) -> None:
        self._local = LocalCounts()
        self._away_until = 0.0
        self._client: redis.Redis | None = None

    def add(self, caller: str, calls: int = 1) -> int:
        """Count the calls, and return how many the caller has made in this minute."""
        if time.monotonic() >= self._away_until:
            try:
                return self._add_shared(caller, calls)
            except redis.RedisError:
                self._away_until = time.monotonic() + AWAY_SECONDS
        return self._local.add(caller, calls)

    def _add_shared(self, caller: str, calls: int) -> int:
        if self._client is None:
            self._client = connect(
                settings.ISTORE_REDIS_URL,
                seconds=ANSWER_SECONDS,
                tries=2,  # the server may have closed an idle connection
            )
        key = f"istore:rate:{caller}:{int(time.time()) // MINUTE}"
        # One round trip. A key has an end from its first moment on, even if a process dies here.
        with reading("SET and INCRBY", self._client):
            both = self._client.pipeline(transaction=False)
            both.set(key, 0, ex=2 * MINUTE, nx=True)
            both.incrby(key, calls)
            return int(both.execute()[1])


shared = SharedCounts()


class CallNumbers:
    """Numbers the calls of each caller in this minute, over all processes. Safe for threads."""

    def __init__(self) -> None:
        self._minute = 0
        self._drawn: dict[str, Iterator[int]] = {}  # in this minute, and not yet used

    def next(self, caller: str, draw: int) -> int:
        """Return the number of a call. If no number is left, ``draw`` numbers are drawn."""
        minute = int(time.time()) // MINUTE
        if minute != self._minute or len(self._drawn) >= MOST_CALLERS:
            self._drawn, self._minute = {}, minute
        drawn = self._drawn  # that of this minute, even if another one begins now
        # An iterator of a range gives no number twice, to whichever threads.
        if number := next(drawn.get(caller, iter(())), 0):
            return number
        last = shared.add(caller, draw)
        first = last - draw + 1
        if draw > 1:
            drawn[caller] = iter(range(first + 1, last + 1))
        return first


numbers = CallNumbers()


def by_token(pk: int) -> str:
    """Return the key under which the calls of an API token are counted."""
    return f"token:{pk}"


def by_session_token(pk: int) -> str:
    """Return the key under which the calls of an inference session's token are counted."""
    return f"session-token:{pk}"


def by_user(pk: int) -> str:
    """Return the key under which the calls of a person are counted."""
    return f"user:{pk}"


def by_address(address: str) -> str:
    """Return the key under which the calls of an address are counted; for IPv6 its network."""
    return f"address:{address_key(address)}"


def seconds_to_wait(caller: str) -> int:
    """Count a call. Return 0 within the limit, else the seconds until the next minute."""
    limit = settings.ISTORE_RATE_PER_MINUTE
    if not limit or numbers.next(caller, max(1, limit // DRAWS)) <= limit:
        return 0
    return seconds_left()


def seconds_left() -> int:
    """Return the seconds until the next minute, at least 1, for ``Retry-After``."""
    return max(1, int(MINUTE - time.time() % MINUTE) + 1)
