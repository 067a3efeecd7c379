"""What the tests of parser processes have run in one; such a function is imported there."""

from __future__ import annotations

import os
import signal
import time


def process_of(body: bytes) -> int:
    return os.getpid()


def length_of(body: bytes, factor: int) -> int:
    return factor * len(body)


def sleep_for(body: bytes) -> None:
    time.sleep(float(body))


def use_memory(body: bytes) -> int:
    return len(b"x" * int(body))


def die(body: bytes) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail(body: bytes) -> None:
    raise LookupError("a fault of ours")
