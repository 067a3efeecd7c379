"""Whether all web servers of this store sign with the same keys.

On several hosts each home would make keys of its own: a session of one web server would be none
at the next one, and its links to blobs would be refused there.
"""

from __future__ import annotations

import hashlib
import time

from django.conf import settings

from istore.tasks.broker import connect, reading

KEY = "istore:secrets"
COUNTED_SECONDS = (
    120  # a fingerprint that no readiness check has shown for longer is gone
)


def fingerprint() -> str:
    """Return what tells keys apart and says nothing of them: they are long and random."""
    keys = "\0".join((settings.SECRET_KEY, settings.ISTORE_SIGNING_KEY))
    return hashlib.sha256(f"istore\0{keys}".encode()).hexdigest()[:16]


def differ() -> str | None:
    """Return a warning if another web server has shown other keys lately, else None."""
    now = time.time()
    with connect(settings.ISTORE_REDIS_URL, seconds=2) as client, reading("ZADD"):
        asked = client.pipeline(transaction=False)
        asked.zadd(KEY, {fingerprint(): now})
        asked.zremrangebyscore(KEY, "-inf", now - COUNTED_SECONDS)
        asked.zcard(KEY)
        number = int(asked.execute()[2])
    if number < 2:
        return None
    return (
        "Web servers sign with different keys: give all of them the same "
        "ISTORE_SECRET_KEY and ISTORE_SIGNING_KEY."
    )
