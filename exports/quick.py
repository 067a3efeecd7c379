"""Exports in one step: the usual format of a task, with the options that most people want."""

from __future__ import annotations

from typing import Any

from exports.formats import FORMATS
from exports.formats.base import FLAGS
from exports.models import Container
from exports.selections import Selection
from exports.task_lifecycle import Wanted
from inferences.models import RegisteredModel, TaskType

USUAL = {
    TaskType.OBJECT_DETECTION: "coco",
    TaskType.ORIENTED_OBJECT_DETECTION: "coco",
    TaskType.IMAGE_SEGMENTATION: "coco",
    TaskType.IMAGE_CLASSIFICATION: "imagefolder",
}
USUAL_OF_OTHERS = "ndjson"


def usual_format(task_type: str) -> str:
    """Return the name of the format that the tools of a task read."""
    return USUAL.get(TaskType(task_type), USUAL_OF_OTHERS) if task_type else "ndjson"


def usual_options() -> dict[str, Any]:
    """Return the options of an archive with annotations and metadata."""
    return dict.fromkeys(FLAGS, True)


def wanted(format_: str, selection: Selection, asked: dict[str, Any]) -> Wanted:
    """Return the archive of a selection in a format. Raises ``ValueError`` for another name."""
    if format_ not in FORMATS:
        raise ValueError("There is no such format.")
    return Wanted(selection, asked, format_, Container.ZIP, usual_options())


def offered_formats(model: RegisteredModel) -> list[tuple[str, str]]:
    """Return name and title of each format, the usual one of the model's task first."""
    usual = usual_format(model.task_type)
    names = [usual, *(name for name in FORMATS if name != usual)]
    return [(name, FORMATS[name].title) for name in names]
