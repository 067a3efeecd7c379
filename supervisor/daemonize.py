"""Daemonise: run in the background, while the caller waits until the child is ready."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

READY, REASON = b"\0", b"\1"


def run_detached(
    work: Callable[[Callable[[str], None], Callable[[], None]], None], output: Path
) -> int:
    """Fork a child that calls ``work(announce, when_ready)`` and stays; return an exit status.

    The parent prints what the child announces. It returns 0 when the child is ready. Otherwise it
    prints the reason on standard error and returns the child's own status.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _leave_terminal(output)
        _run_as_child(work, writing)
    os.close(writing)
    # The child has left the terminal, so ctrl-C reaches only us: pass it on.
    signal.signal(signal.SIGINT, lambda *_: os.kill(child, signal.SIGTERM))
    with open(reading, "rb") as announced:
        for line in announced:
            if line.startswith(READY):
                return 0
            text = line.removeprefix(REASON).decode(errors="replace")
            where = sys.stderr if line.startswith(REASON) else sys.stdout
            print(text, end="", file=where, flush=True)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) or 1


def _leave_terminal(output: Path) -> None:
    os.setsid()
    output.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    sink = os.open(output, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    for stream, target in ((0, os.open(os.devnull, os.O_RDONLY)), (1, sink), (2, sink)):
        os.dup2(target, stream)


def _run_as_child(
    work: Callable[[Callable[[str], None], Callable[[], None]], None], writing: int
) -> None:
    def announce(line: str) -> None:
        try:
            os.write(writing, line.encode() + b"\n")
        except OSError:  # the waiting parent has ended
            print(line, flush=True)

    def when_ready() -> None:
        announce(READY.decode())
        os.close(writing)

    status = 1
    try:
        work(announce, when_ready)
        status = 0
    except (Exception, SystemExit) as error:
        reason = " ".join(str(error).split())
        announce(f"{REASON.decode()}{type(error).__name__}: {reason}")
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)
