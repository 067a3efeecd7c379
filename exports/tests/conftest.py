"""Builders of the tests of exports."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from uuid import uuid4

import pytest
from django.db import connection
from PIL import Image

from exports.archive_writer import carry_out
from exports.lake.catalog import SCHEMA
from exports.models import ExportSchedule, ExportTask, ScheduledExport
from exports.schedules import lifecycle, runner
from inferences.models import RegisteredModel, TaskType
from inferences.predictions.parse import deconstructed
from istore import blobs


def png(width: int = 64, height: int = 48, colour: str = "navy") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def make_stored(make_inference):
    """``make_stored(png(), [{"label": "ship", …}], inference_id="a")``: with its input.

    ``content`` None: no input; ``said`` None: an answer that nobody could take apart.
    """

    def make(content: bytes | None = b"", said=(), kind="object_detection", **fields):
        content = png() if content == b"" else content
        key = ""
        if content is not None:
            # Measures are kept by key: a key is of one picture, in all tests.
            key = f"1/1/2025/06/01/00/{uuid4()}/input"
            blobs.put(key, content)
        answer = "" if said is None else json.dumps({kind: list(said)})
        named = [(each["label"], each.get("score")) for each in said or ()]
        given = {
            "data_hash": hashlib.sha256(content or b"").digest(),
            "data_size": len(content or b""),
            "data": answer,
            "data_storage_key": key,
            "data_content_type": "image/png" if content is not None else "",
            "detections": None if said is None else named,
        }
        return make_inference(**given | fields)

    return make


@pytest.fixture
def exported(model):
    """``exported("coco", query="label:ship")``: the task, carried out here and now."""

    def export(format: str = "chariot", container: str = "zip", **asked) -> ExportTask:
        options = asked.pop("options", {})
        of = asked.pop("of", model)
        task = ExportTask.objects.create(
            model=of,
            created_by="test",
            format=format,
            container=container,
            options=options,
            selection=asked,
        )
        carry_out(task)
        return task

    return export


def opened(task: ExportTask) -> zipfile.ZipFile:
    assert task.state == "complete", (task.state, task.reason)
    return zipfile.ZipFile(io.BytesIO(blobs.get(task.archive_key)))


def lines_of(archive: zipfile.ZipFile, name: str) -> list[dict]:
    return [json.loads(line) for line in archive.read(name).splitlines()]


@pytest.fixture
def of_task(project):
    """``of_task(TaskType.RANKING)``: a model of that task."""

    def make(task: TaskType, **fields) -> RegisteredModel:
        size = 3 if "Embedding" in task else 0
        return RegisteredModel.objects.create(
            model_id="m",
            project=project,
            task_type=task,
            **{"embedding_size": size, **fields},
        )

    return make


@pytest.fixture
def answered(make_inference):
    """``answered(model, {"ranking": […]}, inference_id="a")``: as a create stores it."""

    def make(model: RegisteredModel, parts: dict, metadata=None, **fields):
        text = json.dumps(parts)
        found = deconstructed(model, text)
        model.refresh_from_db()
        return make_inference(
            metadata,
            to=model,
            data=text,
            detections=found.pairs,
            embedding=found.embedding,
            **fields,
        )

    return make


@pytest.fixture
def lake(transactional_db):
    """Drops the catalogue, which no transaction of the test takes back."""
    yield
    with connection.cursor() as cursor:
        cursor.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")


@pytest.fixture
def lake_schedule(lake):
    """``lake_schedule(model)``: a schedule of the lake that begins with what is stored."""

    def make(model: RegisteredModel, name: str = "lake", **values) -> ExportSchedule:
        return lifecycle.create(
            "test", model, from_beginning=True, name=name, format="iceberg", **values
        )

    return make


@pytest.fixture
def run_lake():
    """``run_lake(schedule)``: a run, carried out here and now."""

    def run(schedule: ExportSchedule) -> ScheduledExport:
        schedule.refresh_from_db()
        started = lifecycle.start("test", schedule)
        runner.carry_out(started)
        started.refresh_from_db()
        return started

    return run
