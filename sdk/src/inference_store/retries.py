"""Retries: when a call is repeated, and how long to wait before.

Only calls that may run twice are retried (GET, PUT, DELETE, creating by id, and POSTs
that only read), and only after a 429, a 503 or a failed connection. Waits are random
between zero and a limit that doubles each time ("full jitter"), so that clients which
failed together do not retry together. A ``Retry-After`` is waited for first.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

import httpx2

REPEATED_STATUSES = frozenset({429, 503})
# Without ReadTimeout: retrying would only give a slow server more to do.
REPEATED_FAILURES = (
    httpx2.NetworkError,
    httpx2.RemoteProtocolError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
)


@dataclass(frozen=True)
class Retries:
    """How often to try, and how long to wait between tries.

    ``Client(retries=Retries(attempts=1))`` never retries.

    Parameters:
        attempts: tries in all, the first included.
        first_wait: the limit of the first wait in seconds; it doubles with each retry.
        longest_wait: the longest wait in seconds. A longer ``Retry-After`` ends the tries.
        chance: a function that returns a random number from 0 up to 1, for tests.
    """

    attempts: int = 5
    first_wait: float = 0.25
    longest_wait: float = 30.0
    chance: Callable[[], float] = field(default=random.random, repr=False)

    def wait(self, tries: int, retry_after: float | None = None) -> float | None:
        """Return the seconds to wait after this many tries, or None to give up."""
        if tries >= self.attempts:
            return None
        if retry_after is not None and retry_after > self.longest_wait:
            return None
        limit = min(self.longest_wait, self.first_wait * 2.0 ** (tries - 1))
        return (retry_after or 0.0) + self.chance() * limit


def retry_after_of(response: httpx2.Response) -> float | None:
    """Return the seconds of a ``Retry-After`` header, which is a number or a date."""
    text = response.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdecimal():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    return max(0.0, (moment - datetime.now(timezone.utc)).total_seconds())
