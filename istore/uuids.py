"""Names that sort by the time they were made."""

from __future__ import annotations

import os
import time

AT_ONCE = 256


def uuid7() -> str:
    """A UUID, version 7 of RFC 9562: 48 bits of milliseconds, then chance."""
    value = time.time_ns() // 1_000_000 << 80 | int.from_bytes(_chance())
    value = value & ~(0xF << 76 | 0x3 << 62) | 7 << 76 | 2 << 62
    text = f"{value:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def _chance() -> bytes:
    """Ten random bytes, drawn from the system many at a time: each look costs a call."""
    try:
        return _drawn.pop()  # whole or not at all, whichever threads ask
    except IndexError:
        fresh = os.urandom(10 * AT_ONCE)
        _drawn.extend(fresh[n : n + 10] for n in range(10, len(fresh), 10))
        return fresh[:10]


_drawn: list[bytes] = []
os.register_at_fork(after_in_child=_drawn.clear)  # no two processes draw the same
