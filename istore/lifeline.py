"""Ties a process's life to its parent's: after ``kill -9`` of one, nothing is left behind.

Linux sends the signal when the *thread* that started the child ends, so children are
started from the main thread; and then once more for each other thread of the parent.
There are servers whose handlers do not bear that, and everything of ours may be killed
at any moment, so SIGKILL is what it is. Elsewhere than on Linux nothing happens.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

# Set by the supervisor for the children that start processes of their own.
SUPERVISED = "ISTORE_SUPERVISED"
SET_PARENT_DEATH_SIGNAL = 1

# Loaded here, because a child between fork and exec must not load anything.
libc = ctypes.CDLL(None, use_errno=True)


def follow_parent(sent: signal.Signals = signal.SIGKILL) -> None:
    """Have this process sent a signal when its parent ends. Survives exec, not fork."""
    if sys.platform == "linux":
        libc.prctl(SET_PARENT_DEATH_SIGNAL, int(sent), 0, 0, 0)


def hold() -> None:
    """For the worker process of a supervised server: end at once when the server has.

    A server that is told to stop stops its workers itself, in order; this is for the
    one that was killed. Called where the worker imports its application.
    """
    if os.environ.get(SUPERVISED):
        follow_parent()
        if os.getppid() == 1:  # it ended before we asked
            os._exit(1)
