"""Read a client's request body, within limits of size, time and memory."""

from __future__ import annotations

import threading

from proxy import limits
from proxy.answers import AGAIN_IN_A_SECOND, Receive, Refused
from proxy.http.timeouts import Timeout

DISCARD_SECONDS = 5  # how long the rest of a refused body is read,
DISCARD_TIMES = 4  # and how much of it, in PROXY_MAX_REQUEST_BYTES


class BrokenOff(Refused):
    """The body ended before it was whole, and nothing was forwarded.

    A client that only closed its sending side, or sent an invalid chunk, still gets this answer.
    """

    def __init__(self) -> None:
        detail = "The body broke off before its end."
        super().__init__(400, detail, code="incomplete-body")


class MemoryBudget:
    """Counts the bytes of requests and answers that this process holds, up to ``limit``."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0
        # The thread that decompresses a body takes memory for it, so there are several.
        self._lock = threading.Lock()

    def allowance(self) -> MemoryReservation:
        """Return an empty reservation for one call."""
        return MemoryReservation(self)

    def take(self, count: int) -> bool:
        """Reserve so many bytes; return False if they are not available."""
        with self._lock:
            if self.held + count > self.limit:
                return False
            self.held += count
            return True

    def give_back(self, count: int) -> None:
        """Free so many bytes."""
        with self._lock:
            self.held -= count


class MemoryReservation:
    """The bytes that one call holds; they are freed when it ends."""

    __slots__ = ("_lock", "held", "is_closed", "permits")

    def __init__(self, permits: MemoryBudget) -> None:
        self.permits = permits
        self.held = 0
        self.is_closed = False
        # The thread that decompresses for a call may outlive the call.
        self._lock = threading.Lock()

    def take(self, count: int) -> bool:
        """Reserve so many bytes more; return False if they are not available.

        It is False, too, when the call has ended: nobody would free them.
        """
        with self._lock:
            if self.is_closed or not self.permits.take(count):
                return False
            self.held += count
            return True

    def __enter__(self) -> MemoryReservation:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.is_closed = True
            self.permits.give_back(self.held)
            self.held = 0


class Reader:
    """Reads the body of one request."""

    def __init__(
        self, receive: Receive, declared: bytes | None, *, is_held_back: bool = False
    ) -> None:
        self._receive = receive
        self._declared = declared
        self._is_held_back = is_held_back  # until we ask for it (``Expect``)
        self.is_read = False

    async def body(self, allowance: MemoryReservation) -> bytes:
        """Return the whole body.

        Raises ``Refused``: 413 when it is too large, 408 when it is too slow, 503 when no memory
        is left, 400 when it breaks off.
        """
        limit = limits.PROXY_MAX_REQUEST_BYTES
        declared = self._declared_length()
        if declared > limit:
            raise Refused(413, f"The body is larger than {limit} bytes.")
        self._take(allowance, declared)
        try:
            with Timeout(limits.CLIENT_BODY_SECONDS):
                return await self._gather(allowance, declared, limit)
        except TimeoutError:
            self.is_read = True  # nobody waits for the rest
            raise Refused(408, "The body did not arrive in time.") from None

    async def until_gone(self) -> None:
        """Return when the client has disconnected; to be awaited once the body is read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def discard(self) -> None:
        """Read on for a while, so that the client receives the error response.

        A client that is still sending when the connection closes sees a reset instead.
        """
        if self.is_read or self._is_held_back:
            return
        left = limits.PROXY_MAX_REQUEST_BYTES * DISCARD_TIMES
        try:
            with Timeout(DISCARD_SECONDS):
                while left > 0 and not self.is_read:
                    left -= len(await self._next())
        except (TimeoutError, BrokenOff):
            self.is_read = True

    async def _gather(
        self, allowance: MemoryReservation, declared: int, limit: int
    ) -> bytes:
        chunk = await self._next()
        if self.is_read and len(chunk) <= declared:
            return chunk
        chunks, size = [chunk], len(chunk)
        while not self.is_read:
            if size > limit:
                raise Refused(413, f"The body is larger than {limit} bytes.")
            if size > allowance.held:
                self._take(allowance, size - allowance.held)
            chunk = await self._next()
            chunks.append(chunk)
            size += len(chunk)
        if size > limit:
            raise Refused(413, f"The body is larger than {limit} bytes.")
        return b"".join(chunks)

    async def _next(self) -> bytes:
        self._is_held_back = False
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.is_read = True
            raise BrokenOff
        self.is_read = not message.get("more_body", False)
        body: bytes = message.get("body", b"")
        return body

    def _declared_length(self) -> int:
        if self._declared is None:
            return 0
        if not self._declared.isdigit() or len(self._declared) > 19:
            raise Refused(400, "The content length is not a number.")
        return int(self._declared)

    @staticmethod
    def _take(allowance: MemoryReservation, count: int) -> None:
        if not allowance.take(count):
            raise Refused(503, "Too much is in flight.", AGAIN_IN_A_SECOND)
