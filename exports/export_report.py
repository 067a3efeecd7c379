"""The report of an archive: counts, reasons for skipped members, and warnings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import IO, Any

import orjson

LISTED = 100  # skipped members listed on the task; the manifest lists all

WARNINGS = {
    "no-annotations": "inferences have no deconstructed output and no annotations",
    "no-shape": "detections have no shape and are left out of the annotations",
    "no-picture-size": "inputs are no pictures, so shares of their size stay shares",
    "clipped": "boxes reached beyond the picture and were cut at its edge",
    "outside": "boxes lay outside the picture or had no area and were left out",
    "malformed-mask": "masks have run lengths that do not add up to their size",
    "beyond": "boxes reach beyond the picture and are written as they are",
    "turned": (
        "pictures are to be turned as EXIF says; their boxes are in the pixels as stored"
    ),
    "cut-picture": "pictures end early: some of their pixels are missing",
    "renamed": "pictures of another kind are named like the first, for one column",
    "holes-filled": "segments have holes that this format cannot say",
    "hash-mismatch": "inputs are not what their data_hash says",
    "no-answer-blob": "answers are no longer in blob storage",
    "vector-length": "embeddings are not as long as the model's, and left empty",
    "request-too-large": "requests have more bytes than are read as text: no prompt",
    "unknown-included": "included ids are not those of a stored inference",
}


class Receipt:
    """The report of an archive while it is written. Every skipped member has a reason.

    ``skips`` is a file of all skipped members; ``on_tick`` is called after each member.
    """

    def __init__(
        self, expected: int, skips: IO[bytes], on_tick: Callable[[], None]
    ) -> None:
        self.expected = expected
        self.written = 0
        self.skipped: Counter[str] = Counter()
        self.warnings: Counter[str] = Counter()
        self.first_skips: list[dict[str, str]] = []
        # The offset and length in bytes of the manifest in the archive.
        self.manifest_at = (0, 0)
        self._skips = skips
        self._on_tick = on_tick

    @property
    def passed(self) -> int:
        """The number of members that were written or skipped."""
        return self.written + self.skipped.total()

    def skip(self, inference_id: str, reason: str) -> None:
        """Count a skipped member, and write it to the file of skips."""
        self.skipped[reason] += 1
        skip = {"inference_id": inference_id, "reason": reason}
        if len(self.first_skips) < LISTED:
            self.first_skips.append(skip)
        self._skips.write(orjson.dumps(skip) + b"\n")

    def skips(self) -> Iterator[bytes]:
        """Yield all skipped members as JSON objects ``{inference_id, reason}``."""
        self._skips.seek(0)
        yield from (line.rstrip() for line in self._skips)
        self._skips.seek(0, 2)

    def warn(self, code: str, count: int = 1) -> None:
        """Count something that the archive holds in another form than the store does."""
        self.warnings[code] += count

    def tick(self) -> None:
        """Report progress, after a member is done or while a slow step goes on."""
        self._on_tick()

    def to_json(self) -> dict[str, Any]:
        """Return the report in the form that the task stores."""
        return {
            **self.summary(),
            "first_skips": self.first_skips,
            "manifest_at": self.manifest_at,
        }

    def summary(self) -> dict[str, Any]:
        """Return the counts in the form that people see."""
        return {
            "expected": self.expected,
            "written": self.written,
            "skipped": self.skipped.total(),
            "skipped_by_reason": dict(sorted(self.skipped.items())),
            "warnings": [
                {"code": code, "count": count, "message": message_of(code, count)}
                for code, count in sorted(self.warnings.items())
            ],
        }


def message_of(code: str, count: int) -> str:
    """Return a warning as a sentence with its count."""
    return f"{count} {WARNINGS.get(code, code)}."
