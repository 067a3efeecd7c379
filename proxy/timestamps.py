"""Moments as whole microseconds since 1970; they become text only where they are stored.

The text is that of ``ingest.events.written_moment``, the blob prefix that of
``istore.blobs.prefix_for``. Their parts that change once a second, or once an hour, are cached.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import lru_cache

from istore import blobs

SECOND, HOUR = 10**6, 3600 * 10**6


def now() -> int:
    """Return the present in microseconds since 1970."""
    return time.time_ns() // 1000


def format_timestamp(moment: int) -> str:
    """Return the moment in RFC 3339, in UTC, always with six digits."""
    second, rest = divmod(moment, SECOND)
    return f"{_second(second)}.{rest:06}Z"


def prefix_for(project_key: int, model_key: int, moment: int, unique: str) -> str:
    """Return the prefix of the blobs of one inference of this moment; ``unique`` ends it."""
    return _hour(project_key, model_key, moment // HOUR) + unique


@lru_cache(16)
def _second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


@lru_cache(1024)
def _hour(project_key: int, model_key: int, hour: int) -> str:
    begin = datetime.fromtimestamp(hour * HOUR // SECOND, UTC)
    return blobs.prefix_for(project_key, model_key, begin, "")
