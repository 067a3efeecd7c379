"""Take the entries of a window apart in portions that fit into memory.

A window is bounded by its bytes in the spool, but a compressed answer may become a thousand
times as large. So entries are taken apart until their bodies amount to a pack; these are put
before the next ones are taken apart. What is decompressed beyond a pack waits until no other
thread has such a body in hand.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable

from django.conf import settings

from proxy.capture.artifacts import Captured
from proxy.http.encodings import Take

Call = tuple[bytes, list[Captured]]  # the payload of an entry, and its inferences
Read = Callable[[bytes, Take], list[Captured]]


class Unfolding:
    """The turn of the one thread that may hold more decompressed bytes than a pack."""

    def __init__(self) -> None:
        self._turn = threading.Lock()

    def portions(self, payloads: Iterable[bytes], read: Read) -> Generator[list[Call]]:
        """Yield the entries with their inferences; close it to let the next thread go on.

        Each list is cleared when the next one is asked for. ``read`` returns the inferences of
        an entry, and takes memory for what it decompresses.
        """
        calls: list[Call] = []
        size = 0
        hold = _Hold(self._turn)
        try:
            for payload in payloads:
                calls.append((payload, read(payload, hold.take)))
                size += sum(each.size for each in calls[-1][1])
                if max(size, hold.size) >= settings.ISTORE_PACK_BYTES:
                    yield calls
                    calls.clear()
                    size = 0
                    hold.end()
            if calls:
                yield calls
        finally:
            hold.end()


class _Hold:
    """The decompressed bytes that a thread holds."""

    def __init__(self, turn: threading.Lock) -> None:
        self._turn = turn
        self._has_turn = False
        self.size = 0

    def take(self, count: int) -> bool:
        """Count so many bytes more; beyond those of a pack, wait for the turn."""
        self.size += count
        if self.size > settings.ISTORE_PACK_BYTES and not self._has_turn:
            self._turn.acquire()
            self._has_turn = True
        return True

    def end(self) -> None:
        """Note that none of the bytes is held any more."""
        self.size = 0
        if self._has_turn:
            self._has_turn = False
            self._turn.release()
