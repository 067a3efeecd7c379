"""Label Studio: ``tasks.json`` to import, and ``label_config.xml`` for the project.

A segment is one polygon for each of its parts, with its holes joined by bridges of no width;
masks are written as outlines. Coordinates are percent of the upright picture, because browsers
turn pictures as EXIF says. Answers are *predictions*, which people correct, or finished
*annotations* if the options say so. A rotated rectangle is given by its upper left corner before
the rotation, and rotated clockwise in degrees.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from exports.formats import geometry
from exports.formats.base import Drawing, Format
from exports.formats.native import natives, to_strict_json
from exports.formats.voc import storable
from exports.members import Member
from inferences.predictions.parsers import Detection, Mask, OrientedBox, Polygons
from inferences.previews.pictures import Measure

PICTURE, LABEL, OUTLINE, CLASS = "image", "label", "outline", "class"


class LabelStudio(Format):
    name = "label_studio"
    title = "Label Studio"
    description = "Tasks to import: pictures with predictions, or with annotations."
    annotations_are_optional = True
    metadata_is_optional = True
    is_read_upright = True

    def begin(self) -> None:
        self.tasks = self.archive.scratch()
        self.labels = self.label_numbers()
        self.count = 0

    def add(self, member: Member) -> None:
        drawing = self.drawn(member)
        path = self.path_of(member)
        data: dict[str, Any] = {
            PICTURE: f"/data/local-files/?d={path}",
            "path": path,
            "inference_id": member.inference_id,
            "created_at": member.created_at.isoformat(),
        }
        if member.split:
            data["split"] = member.split
        if self.options.include_custom_metadata:
            data["metadata"] = natives(member)
        task: dict[str, Any] = {"id": member.number, "data": data}
        if member.is_deconstructed:
            self._add_results(task, member, drawing)
        line = to_strict_json(task)
        self.add_input(member, path)
        self.tasks.write((b",\n" if self.count else b"[\n") + line)
        self.count += 1

    def _add_results(
        self, task: dict[str, Any], member: Member, drawing: Drawing
    ) -> None:
        results: list[dict[str, Any]] = []
        for found in drawing.detections:
            self.labels.number(found.label)
            for result in _results(found, drawing.picture):
                place = f"{member.number}-{len(results)}"
                results.append({"id": place, **result, **_score(found)})
        if self.options.include_inferences_as_annotations:
            task["annotations"] = [{"result": results}]
            return
        scores = [one.score for one in member.detections if one.score is not None]
        prediction: dict[str, Any] = {
            "model_version": self.model.model_id,
            "result": results,
        }
        if scores:
            prediction["score"] = max(scores)
        task["predictions"] = [prediction]

    def finish(self) -> None:
        self.tasks.write(b"\n]\n" if self.count else b"[]\n")
        self.archive.add_file("tasks.json", self.tasks)
        self.archive.add("label_config.xml", self._configuration())

    def _configuration(self) -> bytes:
        view = Element("View")
        SubElement(view, "Image", name=PICTURE, value=f"${PICTURE}")
        for tag, inner, name in (
            ("RectangleLabels", "Label", LABEL),
            ("PolygonLabels", "Label", OUTLINE),
            ("Choices", "Choice", CLASS),
        ):
            control = SubElement(view, tag, name=name, toName=PICTURE)
            for label, _ in self.labels:
                SubElement(control, inner, value=storable(label))
        content: bytes = ElementTree.tostring(view, "utf-8")
        return content


def _score(found: Detection) -> dict[str, float]:
    return {} if found.score is None else {"score": found.score}


def _results(found: Detection, picture: Measure) -> Iterator[dict[str, Any]]:
    """Yield the results of a detection: one, or one for each part of a segment."""
    width, height = picture.width, picture.height
    about = {
        "to_name": PICTURE,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
    }
    if found.shape is None:
        value: dict[str, Any] = {"choices": [found.label]}
        yield {**about, "from_name": CLASS, "type": "choices", "value": value}
        return
    if isinstance(found.shape, Polygons | Mask):
        about |= {"from_name": OUTLINE, "type": "polygonlabels"}
        for part in geometry.parts(geometry.outlines(found.shape, picture)):
            outline = geometry.join(part)
            points = [[100 * x / width, 100 * y / height] for x, y in outline]
            value = {"points": points, "polygonlabels": [found.label], "closed": True}
            yield {**about, "value": value}
        return
    if isinstance(found.shape, OrientedBox):
        value = _turn(found.shape, picture)
    else:
        box = geometry.bounds(found.shape, picture)
        assert box is not None  # a box has corners
        value = {
            "x": 100 * box.xmin / width,
            "y": 100 * box.ymin / height,
            "width": 100 * box.width / width,
            "height": 100 * box.height / height,
            "rotation": 0,
        }
    value["rectanglelabels"] = [found.label]
    yield {**about, "from_name": LABEL, "type": "rectanglelabels", "value": value}


def _turn(box: OrientedBox, picture: Measure) -> dict[str, Any]:
    width, height = picture.width, picture.height
    half_w, half_h = box.w * width / 2, box.h * height / 2
    cosine, sine = math.cos(box.r), math.sin(box.r)
    x = box.cx * width - half_w * cosine + half_h * sine
    y = box.cy * height - half_w * sine - half_h * cosine
    return {
        "x": 100 * x / width,
        "y": 100 * y / height,
        "width": 100 * box.w,
        "height": 100 * box.h,
        "rotation": math.degrees(box.r) % 360,
    }
