"""Temporary files without a name, which vanish with their process.

They are in the store's home and not in ``/tmp``, which is memory on many machines.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import IO

from django.conf import settings


def on_disk() -> IO[bytes]:
    """Return a new temporary file."""
    return tempfile.TemporaryFile(dir=_directory())


def spooled(size: int) -> IO[bytes]:
    """Return a temporary file that stays in memory up to ``size`` bytes."""
    return tempfile.SpooledTemporaryFile(size, dir=str(_directory()))


def _directory() -> Path:
    path: Path = settings.ISTORE_HOME.directory("scratch")
    return path
