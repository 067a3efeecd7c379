"""The pulse of a role that runs alone, as in a container: the age of one file.

Roles that answer no HTTP touch ``run/<role>.alive`` of their home while their loop goes round, and
a probe looks how long ago that was. The listener touches its file always (``ingest.heartbeat``),
because readiness of the web server reads it; the others only where ``manage.py run`` named their
role. This module is read by probes, so it imports neither Django nor the settings.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from istore.home import Home

ROLE = "ISTORE_ROLE"  # set by ``manage.py run``, or by the container
# A worker and beat touch their file every few seconds; a database that hangs holds beat up longer.
STALE_SECONDS = 120.0


def beat() -> None:
    """Note that this process is at work, if it is one role alone. It never fails."""
    role = os.environ.get(ROLE)
    if not role:
        return
    with suppress(OSError):
        path = _path(role)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch()


def age(role: str) -> float | None:
    """Return the seconds since the role was last seen at work in this home; None if never."""
    try:
        return max(0.0, time.time() - os.stat(_path(role)).st_mtime)
    except OSError:
        return None


def _path(role: str) -> Path:
    return Home.from_environment().run / f"{role}.alive"
