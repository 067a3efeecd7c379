"""Files without a name, for what does not fit into memory: gone with their process.

They lie in the home of the store and not in ``/tmp``, which is memory on many machines.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import IO

from django.conf import settings


def on_disk() -> IO[bytes]:
    return tempfile.TemporaryFile(dir=_directory())


def spooled(size: int) -> IO[bytes]:
    """In memory up to so many bytes."""
    return tempfile.SpooledTemporaryFile(size, dir=_directory())


def _directory() -> Path:
    return settings.ISTORE_HOME.directory("scratch")
