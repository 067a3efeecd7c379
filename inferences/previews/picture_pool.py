"""The pool of child processes that decode pictures.

They are started when needed, and killed when they exceed their limits.
"""

from __future__ import annotations

import atexit
import queue
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.conf import settings

from inferences.previews import picture_worker

WORKERS = 2
JOBS_A_WORKER = 500  # after so many it is replaced, because decoders leak memory
JOB_SECONDS = 15  # wall time of one job; then the worker is killed
WAIT_SECONDS = 20  # for a free worker; then the caller gets ``Busy``
MEMORY_BASE = 320 * 1024**2
BYTES_A_PIXEL = 12  # for the decoded, the resized and the turned picture together
PROGRAM = Path(picture_worker.__file__)


class Unreadable(ValueError):
    """The input is no picture, or none that is decoded here; the message says why."""


class Busy(Exception):
    """All workers have been busy for ``WAIT_SECONDS``."""


class Worker:
    """One child process. Any failure ends it and makes its job ``Unreadable``."""

    def __init__(self) -> None:
        pixels = settings.ISTORE_IMAGE_MAX_PIXELS
        memory = MEMORY_BASE + BYTES_A_PIXEL * pixels
        self.jobs_left = JOBS_A_WORKER
        self.process = subprocess.Popen(
            [sys.executable, "-I", str(PROGRAM), str(memory), str(pixels)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={},
            cwd="/",
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.jobs, self.answers = self.process.stdin, self.process.stdout

    def ask(self, job: dict[str, Any], content: bytes) -> tuple[dict[str, Any], bytes]:
        """Return the answer to one job. Raises ``Unreadable``, also after ``JOB_SECONDS``."""
        timer = threading.Timer(JOB_SECONDS, self.process.kill)
        timer.start()
        self.jobs_left -= 1
        try:
            picture_worker.write(self.jobs, job, content)
            answer = picture_worker.read(self.answers)
        except (OSError, ValueError):
            answer = None
        finally:
            timer.cancel()
        if answer is None:
            self.jobs_left = 0
            raise Unreadable("The picture could not be decoded within its limits.")
        return answer

    def end(self) -> None:
        with suppress(OSError):
            self.process.kill()
        with suppress(OSError):
            self.jobs.close()
        self.answers.close()
        self.process.wait()


class Pool:
    """Lends a worker to one thread at a time. No process is started before the first job."""

    def __init__(self) -> None:
        self.places: queue.LifoQueue[Worker | None] = queue.LifoQueue()
        for _ in range(WORKERS):
            self.places.put(None)

    def ask(
        self,
        content: bytes,
        size: int | None = None,
        crop: tuple[int, int, int, int] | None = None,
    ) -> tuple[dict[str, Any], bytes]:
        """Return what the picture is, and its preview. Raises ``Unreadable`` or ``Busy``."""
        try:
            worker = self.places.get(timeout=WAIT_SECONDS)
        except queue.Empty:
            raise Busy from None
        try:
            if worker is None or worker.process.poll() is not None:
                if worker:
                    worker.end()
                worker = Worker()
            facts, made = worker.ask({"size": size, "crop": crop}, content)
        finally:
            if worker and worker.jobs_left < 1:
                worker.end()
                worker = None
            self.places.put(worker)
        if error := facts.get("error"):
            raise Unreadable(error)
        return facts, made

    def end(self) -> None:
        for _ in range(WORKERS):
            worker = self.places.get(timeout=JOB_SECONDS + 1)
            if worker:
                worker.end()
            self.places.put(None)


pool = Pool()
atexit.register(pool.end)
