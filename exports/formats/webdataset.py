"""WebDataset: shards of samples, ``shards/shard-000000.tar`` and so on.

A sample is the input as ``<digits>.<ext>`` and ``<digits>.json`` with what is known of it.
A shard ends at ``SHARD_SAMPLES`` or ``SHARD_BYTES``; it is built beside the archive.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson

from exports import scratch
from exports.archives import TarArchive
from exports.formats.base import Format
from exports.formats.native import natives, plain
from exports.members import Member
from inferences.deconstruction import Box, Mask, OrientedBox, Polygons
from inferences.deconstruction.values import Shape

SHARD_SAMPLES = 10_000
SHARD_BYTES = 256 * 1024**2


class WebDataset(Format):
    name = "webdataset"
    title = "WebDataset"
    description = "Shards of TAR files, to be streamed into training."
    annotations_are_optional = True
    metadata_is_optional = True

    def begin(self) -> None:
        self.shards: dict[str | None, _Shard] = {}
        self.closed = 0

    def add(self, member: Member) -> None:
        content = member.content
        shard = self.shards.get(member.split)
        if shard and shard.is_full_with(content.size):
            self._close(member.split)
        if member.split not in self.shards:
            self.shards[member.split] = _Shard(self.archive.modified_at)
            self.archive.keep(self.shards[member.split])
        shard = self.shards[member.split]
        name = f"{member.number:06d}"
        shard.tar.add_file(f"{name}.{member.extension}", member.open())
        shard.tar.add(f"{name}.json", orjson.dumps(self._facts(member)))
        shard.count += 1
        if content.sha256 != member.data_hash:
            self.receipt.warn("hash-mismatch")

    def _facts(self, member: Member) -> dict[str, Any]:
        facts: dict[str, Any] = {
            "inference_id": member.inference_id,
            "created_at": member.created_at.isoformat(),
            "inference_action": member.inference_action,
            "data_source": member.data_source,
            "latitude": member.latitude,
            "longitude": member.longitude,
        }
        if self.options.include_inferences_as_annotations:
            if member.is_deconstructed:
                facts["annotations"] = [
                    {"label": one.label, "score": one.score, **_shaped(one.shape)}
                    for one in member.detections
                ]
            else:
                self.receipt.warn("no-annotations")
        if self.options.include_custom_metadata:
            facts["metadata"] = natives(member)
        return plain(facts)

    def _close(self, split: str | None) -> None:
        shard = self.shards.pop(split)
        shard.tar.finish()
        directory = f"shards/{split}" if split else "shards"
        self.archive.add_file(f"{directory}/shard-{self.closed:06d}.tar", shard.file)
        shard.close()
        self.closed += 1

    def finish(self) -> None:
        for split in list(self.shards):
            self._close(split)


class _Shard:
    """One TAR file in the making."""

    def __init__(self, modified_at: datetime) -> None:
        self.file = scratch.on_disk()
        self.tar = TarArchive(self.file, modified_at)
        self.count = 0

    def close(self) -> None:
        self.tar.close()
        self.file.close()

    def is_full_with(self, size: int) -> bool:
        return self.count >= SHARD_SAMPLES or self.tar.size + size > SHARD_BYTES


def _shaped(shape: Shape | None) -> dict[str, Any]:
    match shape:
        case Box(xmin, ymin, xmax, ymax, normalised):
            box = {"xmin": xmin, "ymin": ymin, "xmax": xmax, "ymax": ymax}
            return {"bbox": box, **({"normalised": True} if normalised else {})}
        case OrientedBox(cx, cy, w, h, r):
            return {"oriented_bbox": {"cx": cx, "cy": cy, "w": w, "h": h, "r": r}}
        case Polygons(contours):
            return {"contours": [[list(p) for p in contour] for contour in contours]}
        case Mask(counts, height, width):
            return {"mask": {"size": [height, width], "counts": counts}}
    return {}
