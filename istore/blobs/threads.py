"""Deletes in threads: each one waits for a disk or a server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

THREADS = 4

Share = TypeVar("Share")


def in_threads(act: Callable[[Share], None], shares: Sequence[Share]) -> None:
    """Call ``act`` for each share in threads; return when all ended, or raise the first error."""
    if len(shares) < 2:
        for share in shares:
            act(share)
        return
    with ThreadPoolExecutor(THREADS, "blobs") as threads:
        for _ in threads.map(act, shares):
            pass
