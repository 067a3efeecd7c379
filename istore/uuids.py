"""Names that sort by the time they were made."""

from __future__ import annotations

import os
import time


def uuid7() -> str:
    """A UUID, version 7 of RFC 9562: 48 bits of milliseconds, then chance."""
    value = time.time_ns() // 1_000_000 << 80 | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76 | 0x3 << 62) | 7 << 76 | 2 << 62
    text = f"{value:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
