"""Rate limits: calls of a token in a minute, and wrong tokens of an address.

Calls are counted here and added to the shared ``istore.api.rate_limits`` in portions: a round
trip for each call would cost more than it is worth, and a token that makes few calls costs none.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass

from istore.api.rate_limits import MINUTE, seconds_left, shared
from istore.web.client_address import address_key
from proxy.answers import Refused

# A token's limit is shared in this many portions. Each further proxy may let one portion
# too many pass before it hears of the others.
PORTIONS = 50
TOKENS_MOST = 100_000  # counted at a time; above it all counts begin anew
ADDRESSES_MOST = 10_000  # remembered; the one that was wrong longest ago goes first
GUESSES_AT_ONCE = 8  # lookups of unknown tokens for one address


@dataclass(slots=True)
class Count:
    """Calls of one token in this minute: not added to the shared count yet, on the way, added."""

    fresh: int = 0
    on_the_way: int = 0
    shared: int = 0  # the shared count, including that of other processes


class TokenRate:
    """Limits the calls of a token in a minute, over all proxies together; 0 is no limit.

    The limit is ``ISTORE_PROXY_RATE_PER_MINUTE``.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._portion = max(1, limit // PORTIONS)
        self._minute = 0
        self._counts: dict[bytes, Count] = {}
        self._thread = ThreadPoolExecutor(1, "rates")

    def check(self, digest: bytes) -> None:
        """Count a call. Raises ``Refused`` (429) when it is one too many."""
        if not self._limit:
            return
        minute = int(time.time()) // MINUTE
        if minute != self._minute or len(self._counts) > TOKENS_MOST:
            self._minute, self._counts = minute, {}
        count = self._counts.get(digest)
        if count is None:
            count = self._counts[digest] = Count()
        count.fresh += 1
        if count.fresh >= self._portion and not count.on_the_way:
            self._tell(digest, count)
        if count.shared + count.on_the_way + count.fresh > self._limit:
            message = "The token has made too many calls in this minute."
            raise too_many(message, seconds_left())

    def _tell(self, digest: bytes, count: Count) -> None:
        count.on_the_way, count.fresh = count.fresh, 0
        task = asyncio.get_running_loop().run_in_executor(
            self._thread, shared.add, f"proxy:{digest.hex()}", count.on_the_way
        )
        task.add_done_callback(lambda done: _note_shared(count, done))


def _note_shared(count: Count, done: asyncio.Future[int]) -> None:
    if done.cancelled() or done.exception():
        count.shared += count.on_the_way
    else:
        count.shared = max(count.shared + count.on_the_way, done.result())
    count.on_the_way = 0


class WrongTokens:
    """Limits the lookups of unknown tokens, by the client's address. 0 is no limit.

    An address may send ``limit`` wrong tokens at first and gets them back within a minute, one
    by one (a token bucket). Tokens that were valid lately are not counted here, so a client that
    shares its address with a broken program is not affected.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # By address: wrong tokens not regained yet, and the moment of that count.
        self._spent: dict[str, tuple[float, float]] = {}
        self._turns: dict[str, asyncio.Semaphore] = {}
        self._waiting: Counter[str] = Counter()

    @asynccontextmanager
    async def guess(self, client: str) -> AsyncIterator[None]:
        """Enclose the lookup of an unknown token; one that ends as 401 counts.

        Raises ``Refused`` (429) for an address that has sent too many.
        """
        address = address_key(client)
        self._check(address)
        turns = self._turns.setdefault(address, asyncio.Semaphore(GUESSES_AT_ONCE))
        self._waiting[address] += 1
        try:
            async with turns:
                self._check(address)
                try:
                    yield
                except Refused as refused:
                    if refused.status == 401:
                        self._spend(address)
                    raise
        finally:
            self._waiting[address] -= 1
            if not self._waiting[address]:
                del self._waiting[address], self._turns[address]

    def _check(self, address: str) -> None:
        missing = self._spent_by(address) + 1 - self._limit
        if self._limit and missing > 0:
            message = "Too many wrong tokens came from this address."
            raise too_many(message, math.ceil(missing * MINUTE / self._limit))

    def _spend(self, address: str) -> None:
        spent = self._spent_by(address) + 1
        self._spent.pop(address, None)
        self._spent[address] = spent, time.monotonic()
        if len(self._spent) > ADDRESSES_MOST:  # the one that was wrong longest ago
            del self._spent[next(iter(self._spent))]

    def _spent_by(self, address: str) -> float:
        spent, at = self._spent.get(address, (0.0, 0.0))
        return max(0.0, spent - (time.monotonic() - at) * self._limit / MINUTE)


def too_many(message: str, seconds: int) -> Refused:
    """Return a 429 that asks the client to retry after so many seconds."""
    return Refused(429, message, (b"retry-after", b"%d" % seconds))
