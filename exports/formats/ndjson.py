"""NDJSON with every field that the store keeps of an inference, one line each.

The archive holds ``inferences.ndjson``, the inputs under ``data/``, and the answers as they came
from the model under ``answers/``. ``manage.py import_inferences`` reads the unpacked archive;
``inferences/imports/api/record_lines.py`` is the other half of this module. The names of the
members are those of the API.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from exports.formats.base import Format
from exports.formats.native import texts, to_json
from exports.members import DAMAGED, Batch, Member, Skip
from inferences.imports.api.record_lines import RECORD
from inferences.models import Inference, LabelName
from inferences.models.ground_truth import GroundTruth
from istore.json_text import format_moment

NAME = "inferences.ndjson"


class Ndjson(Format):
    name = "ndjson"
    title = "NDJSON, every field"
    description = "All that is stored, to be read back by manage.py import_inferences."
    version = RECORD

    def begin(self) -> None:
        self.lines = self.archive.scratch()
        self.labels: dict[int, str] = {}
        self.truths: dict[int, GroundTruth] = {}

    def add_batch(self, batch: Batch) -> None:
        numbers = {
            number
            for row in batch.inferences.values()
            for number in (*(row.labels or ()), *(row.classes or ()))
        }
        if missing := numbers - self.labels.keys():
            names = LabelName.objects.in_bulk(missing)
            self.labels.update({number: name.name for number, name in names.items()})
        self.truths = batch.truths
        super().add_batch(batch)

    def add(self, member: Member) -> None:
        path = self._input_path(member)
        line = {
            "record": RECORD,
            "project_id": self.model.project.project_id,
            "model_id": self.model.model_id,
            "inference_id": member.inference_id,
            "created_at": _moment(member.created_at),
            "updated_at": _moment(member.updated_at),
            "inference_action": member.inference_action,
            "data_hash": member.data_hash.hex(),
            "data_size": member.data_size,
            "data_source": member.data_source,
            "latitude": member.latitude,
            "longitude": member.longitude,
            "is_protected": member.is_protected,
            "metadata": texts(member),
            "embedding": member.embedding,
            **self._kept(member),
            "input": path and {"path": path, "content_type": member.content_type},
        }
        content = to_json(line) + b"\n"
        if path:
            self.add_input(member, path)
        self.lines.write(content)

    def _kept(self, member: Member) -> dict[str, Any]:
        """Return the fields of a stored row; without a row, those that the answer gives."""
        row = member.inference
        if row is None:
            found = [(one.label, one.score) for one in member.detections]
            known = found if member.is_deconstructed else None
            line = {"data": member.answer, "detections": _pairs(known)}
            if member.said.is_one_class and known is not None:
                line["probabilities"] = _pairs(member.said.pairs)
            return line
        payload = row.payload
        classes = self._named(row.classes, row.probabilities)
        return {
            "data": payload.data,
            "detections": _pairs(self._named(row.labels, row.scores)),
            **({} if classes is None else {"probabilities": _pairs(classes)}),
            "notes": payload.notes,
            "content_hash": bytes(payload.content_hash).hex(),
            "answer": self._answer(member, payload.answer_storage_key),
            "ground_truth": self._truth(row),
        }

    def _named(
        self, numbers: Sequence[int] | None, scores: Sequence[float | None] | None
    ) -> list[tuple[str, float | None]] | None:
        if numbers is None:
            return None
        names = (self.labels[number] for number in numbers)
        return list(zip(names, scores or (), strict=True))

    def _truth(self, row: Inference) -> dict[str, Any] | None:
        found = self.truths.get(row.id)
        if found is None:
            return None
        moment = _moment(found.set_at)
        return {"truth": found.truth, "set_by": found.actor, "set_at": moment}

    def _input_path(self, member: Member) -> str | None:
        try:
            return self.path_of(member)
        except Skip as why:
            if str(why) == DAMAGED:
                raise
            return None

    def _answer(self, member: Member, key: str) -> dict[str, str] | None:
        if not key or member.open_answer is None:
            return None
        path = f"answers/{member.number:08d}"
        try:
            with member.open_answer() as file:
                self.archive.add_file(path, file)
        except FileNotFoundError:
            self.receipt.warn("no-answer-blob")
            return None
        return {"path": path}

    def finish(self) -> None:
        self.archive.add_file(NAME, self.lines)


def _pairs(
    found: list[tuple[str, float | None]] | None,
) -> list[dict[str, Any]] | None:
    if found is None:
        return None
    return [{"label": label, "score": score} for label, score in found]


def _moment(moment: datetime | None) -> str | None:
    return format_moment(moment) if moment else None
