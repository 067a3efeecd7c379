"""Hugging Face ``imagefolder``: a folder of pictures for each split, with ``metadata.jsonl``.

``load_dataset("imagefolder", data_dir=…)`` opens the unpacked archive. Each picture is a row
with ``inference_id``, ``created_at``, and the optional columns: ``label`` and ``score`` of the
best class, or ``objects`` with boxes ``[x, y, width, height]``; and metadata as a list of
``{key, type, value}``, because all rows need one shape. Boxes are those of the upright
picture: ``datasets`` turns pictures as EXIF says.
"""

from __future__ import annotations

from typing import IO, Any

from exports.formats import geometry
from exports.formats.base import Drawing, Format
from exports.formats.native import texts, to_strict_json
from exports.members import Member
from inferences.predictions.model_types import type_of

WITHOUT_SPLIT = "train"


class ImageFolder(Format):
    name = "imagefolder"
    title = "Hugging Face imagefolder"
    description = "A folder of pictures that datasets opens by load_dataset."
    annotations_are_optional = True
    metadata_is_optional = True
    is_read_upright = True

    def begin(self) -> None:
        self.rows: dict[str, IO[bytes]] = {}

    def add(self, member: Member) -> None:
        _ = member.picture  # raises Skip: readers accept only pictures
        split = member.split or WITHOUT_SPLIT
        path = self.path_of(member, f"data/{split}")
        row: dict[str, Any] = {
            "file_name": path.rpartition("/")[2],
            "inference_id": member.inference_id,
            "created_at": member.created_at.isoformat(),
        }
        if self.options.include_inferences_as_annotations:
            row |= self._annotations(self.drawn(member))
        if self.options.include_custom_metadata:
            row["metadata"] = texts(member)
        line = to_strict_json(row) + b"\n"
        self.add_input(member, path)
        if split not in self.rows:
            self.rows[split] = self.archive.scratch()
        self.rows[split].write(line)

    def _annotations(self, drawing: Drawing) -> dict[str, Any]:
        if type_of(self.model.task_type).is_one_class:
            found = sorted(drawing.detections, key=lambda one: -(one.score or 0.0))
            best = found[0] if found else None
            return {"label": best and best.label, "score": best and best.score}
        objects: dict[str, list[Any]] = {"bbox": [], "categories": [], "scores": []}
        for each in drawing.detections:
            box = each.shape and geometry.bounds(each.shape, drawing.picture)
            if not box:
                self.receipt.warn("no-shape")
                continue
            objects["bbox"].append([box.xmin, box.ymin, box.width, box.height])
            objects["categories"].append(each.label)
            objects["scores"].append(each.score)
        return {"objects": objects}

    def finish(self) -> None:
        for split, file in self.rows.items():
            self.archive.add_file(f"data/{split}/metadata.jsonl", file)
