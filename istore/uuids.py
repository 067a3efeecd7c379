"""UUIDs that sort by the time they were made."""

from __future__ import annotations

import os
import time

AT_ONCE = 256


def uuid7() -> str:
    """Return a UUID, version 7 of RFC 9562: 48 bits of milliseconds, then random bits."""
    moment = f"{time.time_ns() // 1_000_000:012x}"
    chance = _chance()
    text, variant = chance.hex(), "89ab"[chance[9] & 3]
    return f"{moment[:8]}-{moment[8:]}-7{text[:3]}-{variant}{text[3:6]}-{text[6:18]}"


def _chance() -> bytes:
    """Return ten random bytes. They are drawn in bulk, because each draw is a system call."""
    try:
        return _drawn.pop()  # atomic, so two threads never get the same bytes
    except IndexError:
        fresh = os.urandom(10 * AT_ONCE)
        _drawn.extend(fresh[n : n + 10] for n in range(10, len(fresh), 10))
        return fresh[:10]


_drawn: list[bytes] = []
os.register_at_fork(after_in_child=_drawn.clear)  # else parent and child share bytes
