"""Writes tables of every model type, flat and exploded, for readers of other projects.

``make_tables.py <directory>`` starts a database of its own, records inferences of each
type with metadata, embeddings and ground truth, carries the exports out as a worker does,
and unpacks them to ``<directory>/<shape>/<task>/``.
"""

from __future__ import annotations

import io
import json
import os
import sys
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.ingest import servers  # noqa: E402

BOXES = [
    {"label": "ship", "score": 0.9, "xmin": 1, "ymin": 2, "xmax": 30, "ymax": 40},
    {"label": "tug", "score": 0.5, "xmin": 5, "ymin": 6, "xmax": 17, "ymax": 18},
]
ORIENTED = [
    {"label": "ship", "score": 0.5, "cx": 0.5, "cy": 0.5, "w": 0.1, "h": 0.2, "r": 1.5}
]
CONTOURS = [[{"x": 1, "y": 2}, {"x": 3, "y": 4}, {"x": 5, "y": 1}]]
# Of each model type: its part of a collection, and a ground truth.
SAID: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "Object Detection": ("object_detection", BOXES, {"labels": ["ship"]}),
    "Oriented Object Detection": (
        "oriented_object_detection",
        ORIENTED,
        {"labels": ["ship"]},
    ),
    "Image Segmentation": (
        "image_segmentation",
        [{"label": "sea", "score": 0.75, "contours": CONTOURS}],
        {"labels": ["sea"]},
    ),
    "Image Classification": (
        "image_classification",
        [{"label": "cat", "score": 0.25}, {"label": "dog", "score": 0.75}],
        {"labels": ["dog"]},
    ),
    "Tabular Classification": (
        "classification",
        [{"label": "yes", "score": 0.75}, {"label": "no", "score": 0.25}],
        {"labels": ["no"]},
    ),
    "Text Classification": (
        "text_classification",
        [{"label": "spam", "score": 1.0}],
        {"labels": ["ham"]},
    ),
    "Named Entity Recognition": (
        "named_entities",
        [{"label": "PORT", "start": 3, "end": 9, "score": 0.5}],
        {"entities": [{"label": "PORT", "start": 3, "end": 9}]},
    ),
    "Tabular Regression": ("regression", {"value": 3.5}, {"value": 4.0}),
    "Ranking": (
        "ranking",
        [{"item": "a", "score": 0.25}, {"item": "b", "score": 0.5}],
        {"relevance": {"a": 1.0}},
    ),
    "Multi-Output": (
        "multi_output",
        {"speed": 3.5, "kind": "tug"},
        {"values": {"speed": 4}},
    ),
    "Time Series": ("time_series", {"values": [1.0, 2.0]}, {"series": [1.5, 2.5]}),
    "Text Generation": ("text_generation", {"text": "Ships."}, {"text": "A ship."}),
    "Image Embedding": ("embedding", [0.5, -1.5, 2.0], {"labels": ["ship"]}),
    "Text Embedding": ("embedding", [0.5, -1.5, 2.0], {"labels": ["ship"]}),
}
START = datetime(2026, 3, 1, tzinfo=UTC)
ROWS = 5


def main(directory: Path) -> None:
    with servers(None):
        import django

        os.environ["DJANGO_SETTINGS_MODULE"] = "istore.settings"
        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        for task, (part, said, truth) in SAID.items():
            model = record_all(task, part, said, truth)
            for shape in ("flat", "exploded"):
                folder = directory / shape / task.lower().replace(" ", "-")
                unpack(model, shape, folder)
                print(folder)


def record_all(task: str, part: str, said: Any, truth: dict[str, Any]) -> Any:
    """A model of the task with a few inferences; the last one has no answer."""
    from inferences.models import InferenceAction, RegisteredModel
    from inferences.models.ground_truth import GroundTruth
    from inferences.models.metadata_values import MetadataValue
    from inferences.predictions.parse import deconstructed
    from inferences.store.recording import NewInference, record
    from istore.models import Project

    project, _ = Project.objects.get_or_create(project_id="foreign")
    model = RegisteredModel.objects.create(
        model_id=f"model of {task}",
        project=project,
        task_type=task,
        embedding_size=3 if "Embedding" in task else 0,
    )
    beside = {
        "inputs": {"age": 41, "town": "Hoek"},
        "shap_values": {"age": 0.25},
        "embeddings": {"face": [0.5, 1.5]},
    }
    if part == "embedding":
        del beside["embeddings"]
    for number in range(ROWS):
        collection = {part: said, **beside} if number < ROWS - 1 else {}
        text = json.dumps(collection) if collection else ""
        found = deconstructed(model, text)
        metadata = [
            MetadataValue("camera", "string", 'north, "1"\n2'),
            MetadataValue("frame", "int", str(number)),
            MetadataValue("gain", "float", "0.5"),
            MetadataValue("a:b.c\n%", "json", '{"x": [1]}'),
            MetadataValue("environment", "string", "production"),
            MetadataValue("model_version", "string", "1.2"),
        ]
        record(
            model,
            [
                NewInference(
                    inference_id=f"{number}",
                    inference_action=InferenceAction.PREDICT,
                    data_hash=bytes(32),
                    created_at=START + timedelta(hours=number),
                    metadata=metadata,
                    detections=found.pairs,
                    embedding=found.embedding,
                    data=text,
                    data_storage_key=f"1/1/{number}/input",
                )
            ],
        )
    first = model.inferences.order_by("id").first()
    GroundTruth.objects.create(
        id=first.id, registered_model=model, truth=truth, actor="", set_at=START
    )
    model.refresh_from_db()
    return model


def unpack(model: Any, shape: str, folder: Path) -> None:
    from exports.archive_writer import carry_out
    from exports.models import ExportTask
    from istore import blobs

    task = ExportTask.objects.create(
        model=model,
        created_by="",
        format="open_inference_parquet",
        options={"shape": shape},
        selection={},
    )
    carry_out(task)
    if task.state != "complete":
        raise SystemExit(f"{model}: {task.state}, {task.reason}")
    archive = zipfile.ZipFile(io.BytesIO(blobs.get(task.archive_key)))
    folder.mkdir(parents=True)
    for name in archive.namelist():
        (folder / name.rpartition("/")[2]).write_bytes(archive.read(name))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
