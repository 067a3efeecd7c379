"""COCO archives: ``annotations.json`` beside the pictures under ``data/``.

Boxes are ``[x, y, width, height]`` in pixels. Every annotation has a segmentation: the corners
of an upright or oriented box; the outlines of a segment; or run lengths for a mask and for a
segment with holes, which outlines would fill. The model's score is kept as ``score``.
``COCO(file)`` of pycocotools reads the file. Members of a dataset go to
``annotations_<split>.json``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO, Any

import orjson

from exports.archives import CHUNK
from exports.formats import geometry
from exports.formats.base import Format
from exports.formats.native import natives, to_strict_json
from exports.members import Member
from inferences.predictions.parsers import Detection, Mask
from inferences.previews.pictures import Measure


class Coco(Format):
    name = "coco"
    title = "COCO"
    description = (
        "Pictures with boxes, oriented boxes and segments, for detection tools."
    )
    metadata_is_optional = True

    def begin(self) -> None:
        self.parts: dict[str | None, _Part] = {}
        self.categories = self.label_numbers(first=1)

    def add(self, member: Member) -> None:
        drawing = self.drawn(member)
        picture = drawing.picture
        path = self.path_of(member)
        image: dict[str, Any] = {
            "id": member.number,
            "file_name": path,
            "width": picture.width,
            "height": picture.height,
            "date_captured": member.created_at.isoformat(),
            "inference_id": member.inference_id,
        }
        if self.options.include_custom_metadata:
            image["metadata"] = natives(member)
        part = self._part(member.split)
        annotations: list[dict[str, Any]] = []
        for found in drawing.detections:
            annotation = self._annotation(found, picture)
            if annotation is None:
                self.receipt.warn("no-shape")
                continue
            number = part.annotations.count + len(annotations) + 1
            annotations.append({"id": number, "image_id": member.number, **annotation})
        lines = [to_strict_json(each) for each in (image, *annotations)]
        self.add_input(member, path)
        part.images.write(lines[:1])
        part.annotations.write(lines[1:])

    def _part(self, split: str | None) -> _Part:
        if split not in self.parts:
            self.parts[split] = _Part(
                _Items(self.archive.scratch()), _Items(self.archive.scratch())
            )
        return self.parts[split]

    def _annotation(self, found: Detection, picture: Measure) -> dict[str, Any] | None:
        shape = found.shape
        box = geometry.bounds(shape, picture) if shape else None
        if not shape or not box:
            return None
        annotation: dict[str, Any] = {
            "category_id": self.categories.number(found.label),
            "bbox": [box.xmin, box.ymin, box.width, box.height],
            "iscrowd": 0,
        }
        if isinstance(shape, Mask):
            annotation["segmentation"] = {
                "size": [shape.height, shape.width],
                "counts": shape.counts,
            }
            annotation["area"] = geometry.mask_area(shape)
        else:
            outlines = geometry.contours(shape, picture)
            # pycocotools reads a contour of fewer than three points as a box.
            outlines = [outline for outline in outlines if len(outline) > 2]
            has_holes = any(depth % 2 for depth in geometry.depths(outlines))
            annotation["segmentation"] = (
                geometry.fill(outlines, picture)
                if has_holes
                else [[value for point in each for value in point] for each in outlines]
            )
            annotation["area"] = geometry.area(outlines)
        if found.score is not None:
            annotation["score"] = found.score
        return annotation

    def finish(self) -> None:
        categories = [
            {"id": number, "name": label, "supercategory": ""}
            for label, number in self.categories
        ]
        info = {"description": f"Inferences of {self.model.model_id}", "version": "1.0"}
        for split, part in (self.parts or {None: self._part(None)}).items():
            name = f"annotations_{split}.json" if split else "annotations.json"
            with self.archive.writing(name) as file:
                file.write(b'{"info": ' + orjson.dumps(info) + b', "licenses": []')
                file.write(b', "categories": ' + orjson.dumps(categories))
                part.images.copy_as("images", file)
                part.annotations.copy_as("annotations", file)
                file.write(b"}\n")


class _Items:
    """A list of JSON values in a temporary file."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.count = 0

    def write(self, values: Sequence[bytes]) -> None:
        for value in values:
            self.file.write((b",\n" if self.count else b"") + value)
            self.count += 1

    def copy_as(self, name: str, target: IO[bytes]) -> None:
        target.write(f',\n"{name}": [\n'.encode())
        self.file.seek(0)
        while chunk := self.file.read(CHUNK):
            target.write(chunk)
        target.write(b"\n]")


class _Part:
    """The images and annotations of one annotation file."""

    def __init__(self, images: _Items, annotations: _Items) -> None:
        self.images = images
        self.annotations = annotations
