"""Parent-death signal: a process ends with its parent, even after ``kill -9``.

Linux sends the signal when the *thread* that started the child ends, so children are started
from the main thread. It then sends it once more for each other thread of the parent. Some
servers have handlers that do not bear this, and all processes of the store must survive a kill
at any moment, so the default signal is SIGKILL. On other systems nothing happens.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

# Set by the supervisor for the children that start processes of their own.
SUPERVISED = "ISTORE_SUPERVISED"
SET_PARENT_DEATH_SIGNAL = 1

# Loaded at import, because a child must not load a library between fork and exec.
libc = ctypes.CDLL(None, use_errno=True)


def follow_parent(sent: signal.Signals = signal.SIGKILL) -> None:
    """Ask for a signal to this process when its parent ends. It survives exec, not fork."""
    if sys.platform == "linux":
        libc.prctl(SET_PARENT_DEATH_SIGNAL, int(sent), 0, 0, 0)


def hold() -> None:
    """End this worker process of a supervised server as soon as the server ends.

    A server that is told to stop stops its workers itself, in order; this is for a server that was
    killed. It is called where the worker imports its application.
    """
    if os.environ.get(SUPERVISED):
        follow_parent()
        if os.getppid() == 1:  # the parent ended before the call above
            os._exit(1)
