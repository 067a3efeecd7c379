"""YOLO: a text file of boxes for each picture, and ``data.yaml``.

A line is ``class cx cy w h`` in shares of the picture. Models for oriented boxes get the four
corners instead. Models for segmentation get the outline, with parts and holes joined by bridges
of no width: ``class x1 y1 x2 y2 …``. Shapes are cut at the edge of the picture, and cuts are
counted. Pictures are under ``images/<split>/`` and labels under ``labels/<split>/``, because
tools find one by the other. ``data.yaml`` has no ``path``: without it Ultralytics starts from the
folder of the file itself, while ``path: .`` would be the working directory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from exports.formats import geometry
from exports.formats.base import Format
from exports.members import NOT_READ, Member, Skip
from inferences.predictions.model_types import type_of
from inferences.predictions.parsers import Detection, OrientedBox, Polygons
from inferences.previews.pictures import Measure

WITHOUT_SPLIT = "train"
# Of the pictures that are exported, those that Ultralytics looks for (IMG_FORMATS).
READ = ("bmp", "jpg", "png", "tif", "webp", "heic", "avif", "jp2")


class Yolo(Format):
    name = "yolo"
    title = "YOLO"
    description = "Pictures with text files of boxes or outlines, and data.yaml."

    is_read_upright = True
    cuts_at_edges = True

    def begin(self) -> None:
        self.numbers = self.label_numbers()
        self.splits: set[str] = set()

    def add(self, member: Member) -> None:
        if member.extension not in READ:
            raise Skip(NOT_READ)
        drawing = self.drawn(member)
        split = member.split or WITHOUT_SPLIT
        path = self.path_of(member, f"images/{split}")
        stem = path.removeprefix("images/").rpartition(".")[0]
        lines = [
            line
            for each in drawing.detections
            for line in self._line(each, drawing.picture)
        ]
        self.add_input(member, path)
        self.splits.add(split)
        self.archive.add(f"labels/{stem}.txt", "".join(lines).encode())

    def _line(self, found: Detection, picture: Measure) -> Iterator[str]:
        box = found.shape and geometry.bounds(found.shape, picture)
        inside = box and box.within(picture)
        if not inside:
            self.receipt.warn("no-shape")
            return
        outline = self._outline(found, picture)
        width, height = picture.width, picture.height
        if outline:
            points = [
                (min(max(x / width, 0), 1), min(max(y / height, 0), 1))
                for x, y in outline
            ]
            values = [value for point in points for value in point]
        else:
            values = [
                (inside.xmin + inside.xmax) / 2 / width,
                (inside.ymin + inside.ymax) / 2 / height,
                inside.width / width,
                inside.height / height,
            ]
        number = self.numbers.number(found.label)
        yield " ".join([str(number), *(f"{value:.6f}" for value in values)]) + "\n"

    def _outline(
        self, found: Detection, picture: Measure
    ) -> list[tuple[float, float]] | None:
        """Return one contour around the whole shape if the task type needs outlines, else None."""
        shaped = type_of(self.model.task_type).shape in (OrientedBox, Polygons)
        if found.shape is None or not shaped:
            return None
        outlines = geometry.outlines(found.shape, picture)
        return geometry.join(outlines) if outlines else None

    def finish(self) -> None:
        splits = self.splits or {WITHOUT_SPLIT}
        first = WITHOUT_SPLIT if WITHOUT_SPLIT in splits else min(splits)
        held_out = "validation" if "validation" in splits else first
        # A JSON string is a valid YAML string, whatever it contains.
        lines = [f"train: images/{first}", f"val: images/{held_out}"]
        if "test" in splits:
            lines.append("test: images/test")
        named = {number: label for label, number in self.numbers}
        # Readers need a name for every number up to the last.
        count = max(named, default=-1) + 1
        names = [
            f"  {number}: {json.dumps(named.get(number, f'class_{number}'), ensure_ascii=False)}"
            for number in range(count)
        ]
        lines += ["names:", *names] if names else ["names: {}"]
        self.archive.add("data.yaml", ("\n".join(lines) + "\n").encode())
