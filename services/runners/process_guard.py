"""Run one command, and leave none of its processes behind, however either of them ends.

``python -I -S process_guard.py <stop seconds> <program> [argument …]``. Standard input is a
pipe whose other end the runner holds. The guard stops the command when the pipe is closed,
which the kernel does at the latest when the runner is killed, or when the guard itself is
told to stop. When the command ends by itself, the guard stops what the command had started.
Its exit status is that of the command.

The guard is a child subreaper (Linux): orphans below it become its children. So it finds
what the command started even in other sessions and process groups. It imports only the
standard library, because each replica has one guard.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress

SET_PARENT_DEATH_SIGNAL, SET_CHILD_SUBREAPER = 1, 36
KILL_SECONDS, LOOK_SECONDS = 5.0, 0.02
NOT_FOUND = 127

libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def main(stop_seconds: float, argv: list[str]) -> int:
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    if libc:
        libc.prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        command = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_follow_keeper,
        )
    except OSError as error:
        print(f"{argv[0]}: {error.strerror}", flush=True)
        return NOT_FOUND
    while command.poll() is None:
        found, _, _ = select.select([0, wake_read], [], [])
        if 0 in found and not os.read(0, 1024):
            break
        if wake_read in found and _is_told_to_stop(os.read(wake_read, 1024)):
            break
    stop(command, stop_seconds)
    status = command.returncode
    return 128 - status if status < 0 else status


def _follow_keeper() -> None:
    signal.set_wakeup_fd(-1)
    if libc:
        libc.prctl(SET_PARENT_DEATH_SIGNAL, int(signal.SIGKILL), 0, 0, 0)


def _is_told_to_stop(numbers: bytes) -> bool:
    return any(number != signal.SIGCHLD for number in numbers)


def stop(command: "subprocess.Popen[bytes]", stop_seconds: float) -> None:
    """Send SIGTERM to the command, then to all that it started; kill what is left in the end."""
    began = time.monotonic()
    for number, seconds in (
        (signal.SIGTERM, stop_seconds),
        (signal.SIGKILL, stop_seconds + KILL_SECONDS),
    ):
        _signal_group(command.pid, number)
        while True:
            if number == signal.SIGKILL or command.poll() is not None:
                left = _orphans(command)
                if not left and command.returncode is not None:
                    return
                for process in left:
                    _signal(process, number)
            if time.monotonic() - began >= seconds:
                break
            time.sleep(LOOK_SECONDS)


def _signal_group(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _signal(process: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(process, number)


def _orphans(command: "subprocess.Popen[bytes]") -> list[int]:
    """Return the adopted children, without the command; reap those that have ended."""
    try:
        # Only if the command itself has ended is every other ended child an orphan.
        while command.poll() is not None and os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return []
    own = os.getpid()
    try:
        with open(f"/proc/{own}/task/{own}/children") as file:
            children = [int(each) for each in file.read().split()]
    except OSError:
        return []
    return [child for child in children if child != command.pid]


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
