"""What the capture process had to set aside is tried again, once what was wrong is mended.

An entry that could not be read lies alone in a ``.set-aside`` file. What belongs to no whole
entry of a segment lies in a ``.damaged`` file; those of earlier releases are whole segments,
and their whole entries are taken, before the damage and after it. The names of blobs were
settled when the call was spooled, so whatever was captured before is met again under the
same names.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from ingest.stream import EventStream
from istore.failpoints import failpoint
from proxy.capture.artifacts import prepare, store_blobs
from proxy.spool.entries import SpoolEntry
from proxy.spool.frames import Scan, identity_of
from proxy.spool.spool_health import files_aside


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of one file: inferences published, entries of no use, and what is wrong."""

    path: Path
    inferences: int = 0
    lost: int = 0
    problem: str = ""

    @property
    def is_done(self) -> bool:
        return not self.lost and not self.problem


def replay(directory: Path, *, discard: bool = False) -> Iterator[Replayed]:
    """Capture and publish what lies in the files; those that gave all they held are
    removed, and with ``discard`` those that gave what they could.

    A file is removed last: dying before publishes again what then is a copy.
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
        except Exception as error:  # whatever it is, it is what set the entry aside
            problem = f"{type(error).__name__}: {error}"[:300]
            continue
        events = [store_blobs(each, is_replay=True) for each in captured]
        # The listener corrects times by the publisher's clock, so that is the present.
        at = datetime.now(UTC)
        stream.publish(replace(each, event_published_at=at) for each in events)
        inferences += len(captured)
    return Replayed(path, inferences, lost, problem)


def _payloads(path: Path) -> Iterator[bytes | None]:
    """The entries of a file; None for each stretch of it that belongs to none."""
    if path.suffix == ".set-aside":
        yield path.read_bytes()
        return
    with open(path, "rb") as file:
        scan = Scan(file, identity_of(path.stem))
        is_empty = True
        for payload, _ in scan:
            is_empty = False
            yield payload
        # A file that was kept for damage tells of a loss, whatever is left in it.
        yield from [None] * max(len(scan.gaps), is_empty)
