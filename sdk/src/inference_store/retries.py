"""When a call is repeated, and how long to wait before it.

Repeated are calls that may run twice (GET, PUT, DELETE, creating by id, and POSTs that
only read), after a 429, a 503 and when the connection failed. Waits are random between
zero and a limit that doubles each time ("full jitter"), so that clients which failed
together do not come back together; a ``Retry-After`` is waited for first.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

import httpx2

REPEATED_STATUSES = frozenset({429, 503})
# A read timeout is not among them: what is slow would only get more to do.
REPEATED_FAILURES = (
    httpx2.NetworkError,
    httpx2.RemoteProtocolError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
)


@dataclass(frozen=True)
class Retries:
    """How often and how patiently: ``Client(retries=Retries(attempts=1))`` never repeats.

    Parameters:
        attempts: tries in all, the first included.
        first_wait: the limit of the first wait in seconds; it doubles with each.
        longest_wait: no wait is longer. A ``Retry-After`` above it ends the tries.
        chance: a random number from 0 up to 1.
    """

    attempts: int = 5
    first_wait: float = 0.25
    longest_wait: float = 30.0
    chance: Callable[[], float] = field(default=random.random, repr=False)

    def wait(self, tries: int, retry_after: float | None = None) -> float | None:
        """Seconds to wait after so many tries; None when it is time to give up."""
        if tries >= self.attempts:
            return None
        if retry_after is not None and retry_after > self.longest_wait:
            return None
        limit = min(self.longest_wait, self.first_wait * 2.0 ** (tries - 1))
        return (retry_after or 0.0) + self.chance() * limit


def retry_after_of(response: httpx2.Response) -> float | None:
    """The seconds of a ``Retry-After``, given as a number or as a date."""
    text = response.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdecimal():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    return max(0.0, (moment - datetime.now(timezone.utc)).total_seconds())
