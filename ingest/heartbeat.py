"""The listener's heartbeat, for readiness: the age of one file."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from django.conf import settings

STALE_SECONDS = 60.0  # from this age on readiness reports it


def beat() -> None:
    """Note that the listener is working, or waits on purpose. It never fails."""
    path = _path()
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch()


def age() -> float | None:
    """Return the seconds since a listener of this home was last seen; None if never."""
    try:
        return max(0.0, time.time() - os.stat(_path()).st_mtime)
    except OSError:
        return None


def silence() -> str | None:
    """Return that the listener is silent; None while it is not, or if none ever ran here."""
    seconds = age()
    if seconds is None or seconds < STALE_SECONDS:
        return None
    return f"The listener was last seen {seconds:.0f} s ago; events wait."


def _path() -> Path:
    return settings.ISTORE_HOME.run / "listener.alive"
