"""Starts the capture process of this proxy, and keeps it running.

The process inherits the lock on the proxy's segments, so no other process takes them while
either of the two lives. Its standard input is a pipe, whose end tells it that the proxy is gone.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time

from django.conf import settings

from istore.blobs.durable_files import make_directory
from istore.uuids import uuid7
from proxy.spool.spool_files import Ownership
from proxy.spool.writer import Spool

RESTART_SECONDS = 1.0  # pause before a capture process that ended is replaced

log = logging.getLogger(__name__)


def open_spool() -> Spool:
    """Return a spool of this process, with a capture process behind it.

    Raises OSError when the directory cannot be used.
    """
    directory = settings.ISTORE_SPOOL_DIR
    make_directory(directory)
    ownership = Ownership.take(directory, uuid7().replace("-", ""))
    if ownership is None:
        raise OSError("The lock of a new owner is held.")
    keeper = threading.Thread(target=_keep, args=(ownership,), daemon=True)
    keeper.start()
    return Spool(ownership)


def _keep(ownership: Ownership) -> None:
    """Run capture processes one after the other, for ever."""
    command = [sys.executable, "-m", "proxy.capture.worker"]
    while True:
        capture = subprocess.Popen(
            [*command, str(ownership.directory), ownership.owner],
            cwd=settings.BASE_DIR,
            stdin=subprocess.PIPE,
            pass_fds=[ownership.descriptor],
        )
        status = capture.wait()
        log.error("The capture process ended with status %d, starting another", status)
        time.sleep(RESTART_SECONDS)
