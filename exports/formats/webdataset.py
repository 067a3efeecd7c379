"""WebDataset: shards of samples, ``shards/shard-000000.tar`` and so on.

A sample is the input as ``<digits>.<ext>`` and its facts as ``<digits>.json``. A shard ends at
``ISTORE_EXPORT_SHARD_SAMPLES`` or ``SHARD_BYTES``; it is built in a temporary file.

Readers such as ``datasets`` make one table of all samples, and infer its columns from the
first few. So every sample has the same members, all of them text: nested values (annotations,
metadata) are JSON in a text. All pictures have the extension of the first one, because readers
detect their kind by content. Inputs of another kind go to shards of their own
(``shards-<ext>/``).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from django.conf import settings

from exports import scratch
from exports.archives import TarArchive
from exports.formats.base import Format
from exports.formats.native import natives, to_strict_json
from exports.members import Member
from inferences.predictions.geometry import geometry_of
from inferences.predictions.parsers import Box, OrientedBox
from inferences.predictions.parsers.values import Shape

Group = tuple[str | None, str]  # the split, and the extension of its inputs

PICTURES = ("jpg", "png", "gif", "webp", "bmp", "tif", "avif", "jp2", "heic")
SHARD_BYTES = 256 * 1024**2


class WebDataset(Format):
    name = "webdataset"
    title = "WebDataset"
    description = "Shards of TAR files, to be streamed into training."
    annotations_are_optional = True
    metadata_is_optional = True
    version = 2  # since 2, annotations and metadata are texts

    def begin(self) -> None:
        self.shards: dict[Group, _Shard] = {}
        self.closed = 0
        self.picture_extension = ""
        self.first_kind = ""

    def add(self, member: Member) -> None:
        content = member.content
        facts = to_strict_json(self._facts(member))
        extension = self._extension(member)
        group = member.split, extension
        shard = self.shards.get(group)
        if shard and shard.is_full_with(content.size):
            self._close(group)
        if group not in self.shards:
            self.shards[group] = _Shard(self.archive.modified_at)
            self.archive.keep(self.shards[group])
        shard = self.shards[group]
        name = f"{member.number:06d}"
        shard.tar.add_file(f"{name}.{extension}", member.open())
        shard.tar.add(f"{name}.json", facts)
        shard.count += 1
        self.check_input(member)

    def _extension(self, member: Member) -> str:
        extension = member.extension
        if extension in PICTURES:
            self.picture_extension = self.picture_extension or extension
            if extension != self.picture_extension:
                self.receipt.warn("renamed")
            extension = self.picture_extension
        self.first_kind = self.first_kind or extension
        return extension

    def _facts(self, member: Member) -> dict[str, str]:
        facts = {
            "inference_id": member.inference_id,
            "created_at": member.created_at.isoformat(),
            "inference_action": member.inference_action,
            "data_source": member.data_source or "",
            "latitude": _number(member.latitude),
            "longitude": _number(member.longitude),
        }
        if self.options.include_inferences_as_annotations:
            if not member.is_deconstructed:
                self.receipt.warn("no-annotations")
            rows = [
                {"label": one.label, "score": one.score, **_shape(one.shape)}
                for one in member.detections
            ]
            known = rows if member.is_deconstructed else None
            facts["annotations"] = to_strict_json(known).decode()
        if self.options.include_custom_metadata:
            facts["metadata"] = to_strict_json(natives(member)).decode()
        return facts

    def _close(self, group: Group) -> None:
        shard = self.shards.pop(group)
        shard.tar.finish()
        split, extension = group
        of_kind = "" if extension == self.first_kind else f"-{extension}"
        directory = f"shards{of_kind}/{split}" if split else f"shards{of_kind}"
        self.archive.add_file(f"{directory}/shard-{self.closed:06d}.tar", shard.file)
        shard.close()
        self.closed += 1

    def finish(self) -> None:
        for group in list(self.shards):
            self._close(group)


class _Shard:
    """One TAR file that is being written."""

    def __init__(self, modified_at: datetime) -> None:
        self.file = scratch.on_disk()
        self.tar = TarArchive(self.file, modified_at)
        self.count = 0

    def close(self) -> None:
        self.tar.close()
        self.file.close()

    def is_full_with(self, size: int) -> bool:
        is_full = self.count >= settings.ISTORE_EXPORT_SHARD_SAMPLES
        return is_full or self.tar.size + size > SHARD_BYTES


def _number(value: float | None) -> str:
    return "" if value is None else repr(value)


def _shape(shape: Shape | None) -> dict[str, Any]:
    match shape:
        case Box(normalised=True):
            return {"bbox": geometry_of(replace(shape, normalised=False))} | {
                "normalised": True
            }
        case Box():
            return {"bbox": geometry_of(shape)}
        case OrientedBox():
            return {"oriented_bbox": geometry_of(shape)}
    return geometry_of(shape)
