"""Chariot-style archives: inputs under ``data/``, and ``annotations.jsonl``.

Each line is ``{"path", "inference_id", "annotations"?, "metadata"?}``. An annotation is
``{class_label}`` with ``bbox {xmin, ymin, xmax, ymax}`` in pixels, ``oriented_bbox
{cx, cy, w, h, r}`` (centre and size as shares of the picture, radians) or ``contours
[[{x, y}, …], …]``, and ``score`` where the model gave one.
"""

from __future__ import annotations

from typing import Any

from exports.formats.base import Format
from exports.formats.native import natives, to_strict_json
from exports.members import DAMAGED, Member, Skip
from inferences.predictions.geometry import geometry_of
from inferences.predictions.parsers import Box, Detection, Mask, OrientedBox, Polygons


class Chariot(Format):
    name = "chariot"
    title = "Chariot"
    description = (
        "Inputs under data/ and one line of JSON for each, with what you choose."
    )
    annotations_are_optional = True
    metadata_is_optional = True

    def begin(self) -> None:
        self.lines = self.archive.scratch()

    def add(self, member: Member) -> None:
        path = self.path_of(member)
        line: dict[str, Any] = {"path": path, "inference_id": member.inference_id}
        if self.options.include_inferences_as_annotations:
            if member.is_deconstructed:
                line["annotations"] = [
                    self._annotation(each, member) for each in member.detections
                ]
            else:
                self.receipt.warn("no-annotations")
        if self.options.include_custom_metadata:
            line["metadata"] = natives(member)
        content = to_strict_json(line) + b"\n"
        self.add_input(member, path)
        self.lines.write(content)

    def finish(self) -> None:
        self.archive.add_file("annotations.jsonl", self.lines)

    def _annotation(self, found: Detection, member: Member) -> dict[str, Any]:
        said: dict[str, Any] = {"class_label": found.label}
        match found.shape:
            case Box():
                box = self._in_pixels(found.shape, member)
                said["bbox"] = {
                    "xmin": box.xmin,
                    "ymin": box.ymin,
                    "xmax": box.xmax,
                    "ymax": box.ymax,
                }
            case OrientedBox():
                said["oriented_bbox"] = geometry_of(found.shape)
            case Polygons(contours):
                said["contours"] = [
                    [{"x": x, "y": y} for x, y in contour] for contour in contours
                ]
            case Mask():
                said |= geometry_of(found.shape)
        if found.score is not None:
            said["score"] = found.score
        return said

    def _in_pixels(self, box: Box, member: Member) -> Box:
        if not box.normalised:
            return box
        try:
            width, height = member.picture.width, member.picture.height
        except Skip as why:
            if str(why) == DAMAGED:
                raise
            self.receipt.warn("no-picture-size")
            return box
        return Box(
            box.xmin * width, box.ymin * height, box.xmax * width, box.ymax * height
        )
