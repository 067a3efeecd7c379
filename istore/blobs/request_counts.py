"""How many requests were sent to object stores, by operation, by all processes together.

An object store bills by the request. Each process counts in memory, repeated requests too, and
adds what it counted to a hash in Valkey every few seconds and at its end. Counts are best
effort: those of a killed process, or of a lost Valkey, are missing.
"""

from __future__ import annotations

import atexit
import threading
from collections import Counter
from contextlib import suppress
from typing import Any

from django.conf import settings
from redis.exceptions import RedisError

from istore.tasks.broker import connect, reading

KEY = "istore:object-store-requests"
TELL_SECONDS = 5
VALKEY_SECONDS = 2

_counted: Counter[str] = Counter()
_lock = threading.Lock()
_teller: threading.Thread | None = None


def count(event_name: str, **_: Any) -> None:
    """Count a request. ``event_name`` is botocore's: ``before-send.s3.<operation>``."""
    global _teller
    with _lock:
        _counted[event_name.rpartition(".")[2]] += 1
        if _teller is None:
            _teller = threading.Thread(
                target=_tell_regularly, name="request counts", daemon=True
            )
            _teller.start()
            atexit.register(tell)


def tell() -> None:
    """Add what this process counted since the last call to the counts of all processes.

    While Valkey is away the counts are kept for the next call.
    """
    with _lock:
        counted = dict(_counted)
        _counted.clear()
    if not counted:
        return
    try:
        with _valkey() as client, reading("HINCRBY", client):
            pipeline = client.pipeline()
            for operation, number in counted.items():
                pipeline.hincrby(KEY, operation, number)
            pipeline.execute()
    except (RedisError, OSError):
        with _lock:
            _counted.update(counted)


def totals() -> dict[str, int]:
    """Return the counts of all processes by operation; none while Valkey is away."""
    found: dict[bytes, bytes] = {}
    with (
        suppress(RedisError, OSError),
        _valkey() as client,
        reading("HGETALL", client),
    ):
        found = client.hgetall(KEY)
    return {name.decode(): int(found[name]) for name in sorted(found)}


def begin_child() -> None:
    """Start anew in a forked child: what was counted is told by the parent."""
    global _lock, _teller
    _lock, _teller = threading.Lock(), None
    _counted.clear()


def _tell_regularly() -> None:
    pause = threading.Event()
    while not pause.wait(TELL_SECONDS):
        tell()


def _valkey() -> Any:
    return connect(settings.ISTORE_REDIS_URL, seconds=VALKEY_SECONDS)
