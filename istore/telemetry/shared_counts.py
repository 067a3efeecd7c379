"""The counts of several processes of one role, in a file for each.

Nobody chooses which of several processes on one port is asked, so each answers for all: it writes
what it counted to a file once a second, and adds what the others wrote. A process takes the first
free number of its role, by a lock that ends with it, and goes on from the file of that number: sums
never go back, and there are never more files than processes at one time. What is true of a moment
counts from fresh files alone.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import orjson

from istore.telemetry.metrics import Counted, add_up, without_moments

TELL_SECONDS = 1.0  # between two writings
FRESH_SECONDS = (
    3.0  # a file that is older is that of a process that has ended, or stands still
)
NUMBERS_MOST = 1024


class SharedCounts:
    """The file of one process of a role, and the files of the others.

    ``number`` is given where somebody else sees to it that no two processes have the same.
    """

    def __init__(self, folder: Path, role: str, number: int | None = None) -> None:
        self._folder = folder
        self._role = role
        self._lock = -1  # a descriptor, held until the process ends
        if number is None:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            number = self._take_number()
        self.file = folder / f"{role}-{number}.counts"
        self.before = without_moments(read_counts(self.file))

    def _take_number(self) -> int:
        for number in range(NUMBERS_MOST):
            path = self._folder / f"{self._role}-{number}.lock"
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(descriptor)
            else:
                self._lock = descriptor
                return number
        raise OSError(f"Too many processes of the role {self._role}.")

    def write(self, counted: Counted) -> None:
        """Write what this process counted, on top of what its file held before it began.

        A full disk is no reason for a process to end, so it never fails.
        """
        with suppress(OSError):
            fresh = self.file.with_suffix(".fresh")
            fresh.write_bytes(orjson.dumps(add_up([self.before, counted])))
            os.replace(fresh, self.file)

    def all(self, counted: Counted) -> Iterator[Counted]:
        """Yield what this process and all others of the role counted."""
        yield self.before
        yield counted
        yield from read_role(self._folder, self._role, but=self.file)

    def keep_written(self, count: Callable[[], Counted]) -> None:
        """Write the counts once a second, in a thread of its own."""
        threading.Thread(
            target=self._write_regularly, args=(count,), name="counts", daemon=True
        ).start()

    def _write_regularly(self, count: Callable[[], Counted]) -> None:
        while True:
            self.write(count())
            time.sleep(TELL_SECONDS)


def read_role(folder: Path, role: str, but: Path | None = None) -> Iterator[Counted]:
    """Yield what the processes of a role have written, but for one of them."""
    for file in folder.glob(f"{role}-*.counts"):
        if file != but:
            yield read_counts(file)


def read_counts(file: Path) -> Counted:
    """Return the counts in a file; none if it cannot be read.

    What was true of a moment is left out where the file is not fresh.
    """
    try:
        written_at = file.stat().st_mtime
        found = orjson.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    counted: Counted = {
        name: {key: each for key, each in values.items() if _is_value(each)}
        for name, values in found.items()
        if isinstance(values, dict)
    }
    if time.time() - written_at > FRESH_SECONDS:
        counted = without_moments(counted)
    return counted


def _is_value(value: object) -> bool:
    numbers = value if isinstance(value, list) else [value]
    return all(type(each) in (int, float) for each in numbers)
