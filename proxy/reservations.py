"""Reserve ids that callers wish for in the database: one statement for many calls.

Calls that come while a statement is running share the next one, and its commit. A call waits
``ISTORE_ID_DEADLINE_MS`` at most, and not at all while the database is known to be away or to
hang: then the state of the id is unknown, and the copy gets another id.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from django.db import Error, InterfaceError, OperationalError, connection

from inferences.store.reservations import Reservation, Wish, release, reserve
from istore.db.statement_timeout import each_statement_limited
from istore.failpoints import failpoint
from proxy import limits

AT_ONCE = 200  # calls in one statement
AWAY_SECONDS = 1.0  # after an error nobody asks for this long
# The lock timeout, as a share of the deadline. A create of the API that holds one id must
# not keep a whole batch waiting for longer.
LOCK_SHARE = 0.25

Found = list[Reservation | None]

log = logging.getLogger(__name__)


class Reservations:
    """Reserves ids for all calls of this process, in a thread of its own."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "ids")
        self._waiting: list[tuple[Sequence[Wish], asyncio.Future[Found]]] = []
        self._returned: list[Reservation] = []
        self._asked_at: float | None = None  # while a statement is under way
        self._away_until = 0.0

    async def ask(self, wishes: Sequence[Wish]) -> Found:
        """Return what became of each wish; None for what could not be settled in time."""
        seconds = limits.ID_DEADLINE_MS / 1000
        if self._is_away(seconds):
            return [None] * len(wishes)
        outcome: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
        self._waiting.append((wishes, outcome))
        self._ask_next()
        try:
            async with asyncio.timeout(seconds):
                return await outcome
        except TimeoutError:
            return [None] * len(wishes)

    def give_back(self, reservations: Sequence[Reservation]) -> None:
        """Free reservations of copies that were not kept. Nobody waits for this."""
        self._returned += [
            reservation for reservation in reservations if reservation.is_new
        ]
        self._ask_next()

    def _is_away(self, seconds: float) -> bool:
        """Return whether a statement runs for too long, or failed a moment ago."""
        now = time.monotonic()
        is_stuck = self._asked_at is not None and now - self._asked_at > seconds
        return is_stuck or now < self._away_until

    def _ask_next(self) -> None:
        """Start the next statement, unless one is running or there is nothing to ask."""
        if self._asked_at is not None or not (self._waiting or self._returned):
            return
        batch, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
        returned, self._returned = self._returned, []
        wishes = [wish for given, _ in batch for wish in given]
        self._asked_at = time.monotonic()
        loop = asyncio.get_running_loop()
        asking = loop.run_in_executor(self._thread, self._settle, wishes, returned)
        asking.add_done_callback(lambda done: self._tell(batch, done))

    def _tell(
        self,
        batch: list[tuple[Sequence[Wish], asyncio.Future[Found]]],
        done: asyncio.Future[Found],
    ) -> None:
        """Give the calls of a finished statement their outcomes, and start the next one."""
        self._asked_at = None
        wanted = sum(len(wishes) for wishes, _ in batch)
        error = done.exception()
        if error is not None:
            log.warning("Ids cannot be reserved: %s", error)
            self._away_until = time.monotonic() + AWAY_SECONDS
        found = iter([None] * wanted if error is not None else done.result())
        for wishes, outcome in batch:
            own = [next(found) for _ in wishes]
            if not outcome.done():
                outcome.set_result(own)
            else:  # too late: the call went on with another id
                self._returned += [each for each in own if each and each.is_new]
        self._ask_next()

    # -- in the thread

    def _settle(self, wishes: list[Wish], returned: list[Reservation]) -> Found:
        try:
            return self._settle_once(wishes, returned)
        except (InterfaceError, OperationalError):
            if connection.is_usable():
                raise
            connection.close()  # it was lost since its last use: one more attempt
            return self._settle_once(wishes, returned)

    def _settle_once(self, wishes: list[Wish], returned: list[Reservation]) -> Found:
        seconds = limits.ID_DEADLINE_MS / 1000
        with each_statement_limited(seconds, lock_seconds=LOCK_SHARE * seconds):
            release(returned)
            if not wishes:
                return []
            try:
                found = reserve(wishes)
                failpoint("proxy.ids_reserved")
                return list(found)
            except Error:
                if len(wishes) == 1 or not connection.is_usable():
                    raise
            # One of them is locked, or its model was removed: ask one by one, so that the
            # others are reserved all the same.
            return [self._settle_alone(wish) for wish in wishes]

    def _settle_alone(self, wish: Wish) -> Reservation | None:
        try:
            (found,) = reserve([wish])
        except Error as error:
            log.warning("An id cannot be reserved: %s", type(error).__name__)
            return None
        return found
