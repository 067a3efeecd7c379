"""Replay what the capture process set aside, once the cause is repaired.

An entry that could not be read is alone in a ``.set-aside`` file. The bytes of a segment that
belong to no whole entry are in a ``.damaged`` file; those of earlier releases are whole
segments, and their whole entries are taken, before the damage and after it. What was captured
before comes once more: the listener recognises it as a copy.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from ingest.stream import EventStream
from istore.failpoints import failpoint
from proxy.capture.artifacts import prepare
from proxy.capture.packing import pack
from proxy.spool.entries import SpoolEntry
from proxy.spool.frames import Scan, identity_of
from proxy.spool.spool_health import files_aside


@dataclass(frozen=True, slots=True)
class Replayed:
    """The result of one file: inferences published, damaged stretches, and what is wrong."""

    path: Path
    inferences: int = 0
    lost: int = 0
    problem: str = ""

    @property
    def is_done(self) -> bool:
        """Whether the file gave everything that it held."""
        return not self.lost and not self.problem


def replay(directory: Path, *, discard: bool = False) -> Iterator[Replayed]:
    """Capture and publish the entries in the files, and yield the result of each file.

    A file that gave everything it held is removed; with ``discard``, so is one that gave what
    it could. A file is removed last: after a crash before that, the same events are published
    again, as duplicates.
    """
    with closing(EventStream()) as stream:
        for path in files_aside(directory):
            done = _replay(path, stream)
            if done.is_done or (discard and not done.problem):
                failpoint("replaying.published")
                path.unlink(missing_ok=True)
            yield done


def _replay(path: Path, stream: EventStream) -> Replayed:
    inferences = lost = 0
    problem = ""
    for payload in _payloads(path):
        if payload is None:
            lost += 1
            continue
        try:
            entry = SpoolEntry.read(payload)
            captured = list(prepare(entry))
        except Exception as error:  # the same error that set the entry aside
            problem = f"{type(error).__name__}: {error}"[:300]
            continue
        events = []
        for packed in pack(captured):
            packed.put()
            events += packed.events
        # It has to be now: the listener takes the distance to the stream's time for an error
        # of the publisher's clock.
        at = datetime.now(UTC)
        stream.publish(replace(event, event_published_at=at) for event in events)
        inferences += len(captured)
    return Replayed(path, inferences, lost, problem)


def _payloads(path: Path) -> Iterator[bytes | None]:
    """Yield the entries of a file, and None for each stretch that belongs to none."""
    if path.suffix == ".set-aside":
        yield path.read_bytes()
        return
    with open(path, "rb") as file:
        scan = Scan(file, identity_of(path.stem))
        is_empty = True
        for payload, _ in scan:
            is_empty = False
            yield payload
        # A file that was kept for damage means a loss, even if no entry is left in it.
        yield from [None] * max(len(scan.gaps), is_empty)
