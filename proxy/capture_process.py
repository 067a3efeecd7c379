"""Starts the capture process of this proxy, and keeps it running.

The process inherits the lock on the proxy's segments, so no other process takes them while
either of the two lives. Its standard input is a pipe, whose end tells it that the proxy is gone.
"""

from __future__ import annotations

import os
import sys
import threading

from django.conf import settings

from istore.blobs.durable_files import make_directory
from istore.child_process import Child, keep_running
from istore.fork_server import VARIABLE
from istore.uuids import uuid7
from proxy.spool.spool_files import Ownership
from proxy.spool.writer import Spool

RESTART_SECONDS = 1.0  # at most, before a capture process that ended is replaced


def open_spool() -> Spool:
    """Return a spool of this process, with a capture process behind it.

    Raises OSError when the directory cannot be used.
    """
    directory = settings.ISTORE_SPOOL_DIR
    make_directory(directory)
    ownership = Ownership.take(directory, uuid7().replace("-", ""))
    if ownership is None:
        raise OSError("The lock of a new owner is held.")
    child = Child(
        name="capture process",
        argv=[
            *(sys.executable, "-m", "proxy.capture.worker"),
            *(ownership.directory, ownership.owner),
        ],
        journal=None,
        cwd=settings.BASE_DIR,
        become=None,  # it goes on without the proxy until everything is captured
        inherited=[ownership.descriptor],
        own_session=False,
        is_held=True,
        longest_pause=RESTART_SECONDS,
        fork_server=int(os.environ.get(VARIABLE, 0)) or None,
    )
    threading.Thread(target=keep_running, args=(child,), daemon=True).start()
    return Spool(ownership)
