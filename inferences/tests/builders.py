"""Values that tests of several modules build."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime

from django.db import connection

from inferences.models import (
    ClassProbability,
    Detection,
    Inference,
    InferenceAction,
    RegisteredModel,
)
from inferences.models.metadata_values import MetadataValue
from inferences.models.row_ids import LOWEST
from inferences.store.partitions import TABLES, partitions_of
from inferences.store.recording import NewInference
from inferences.store.reservations import Wish


def typed(key: str, value: object) -> MetadataValue:
    """A metadata value whose type is that of the Python value."""
    names = {str: "string", int: "int", float: "float"}
    name = names.get(type(value), "json")
    text = json.dumps(value) if name == "json" else str(value)
    return MetadataValue(key, name, text)


def as_before(model: RegisteredModel, beginning: str = "") -> None:
    """Turn the records into what was stored before: the distribution as labels."""
    chosen = f"model_key = {model.pk} AND inference_id ~ '^{beginning}'"
    row, side = Inference._meta.db_table, Detection._meta.db_table
    probabilities = ClassProbability._meta.db_table
    with connection.cursor() as cursor:
        ids = f"SELECT id FROM {row} WHERE {chosen} AND classes IS NOT NULL"
        cursor.execute(
            f"WITH those AS ({ids}), gone AS (DELETE FROM {side} "
            "WHERE id IN (SELECT id FROM those)) "
            f"INSERT INTO {side} (id, model_key, label_id, score) "
            f"SELECT id, model_key, label_id, score FROM {probabilities} "
            "WHERE id IN (SELECT id FROM those)"
        )
        cursor.execute(f"DELETE FROM {probabilities} WHERE id IN ({ids})")
        cursor.execute(
            f"UPDATE {row} SET labels = classes, scores = probabilities, classes = NULL, "
            "probabilities = NULL, low_score = (SELECT min(s) FROM "
            f"unnest(probabilities) AS s) WHERE {chosen} AND classes IS NOT NULL"
        )
    RegisteredModel.objects.filter(pk=model.pk).update(awaits_classes_from=LOWEST)
    model.refresh_from_db()


MOMENT = datetime(2025, 6, 1, 12, 0, 0, 123456, tzinfo=UTC)


def new(inference_id: str = "a", **fields) -> NewInference:
    defaults = {
        "inference_id": inference_id,
        "inference_action": InferenceAction.DETECT,
        "data_hash": hashlib.sha256(b"picture").digest(),
        "created_at": MOMENT,
    }
    return NewInference(**defaults | fields)


def size_of(lower: int | None) -> int:
    """Bytes of the partitions that begin at a row id, with their indexes."""
    names = [
        name
        for table in TABLES
        for name, (start, _) in partitions_of(table.name).items()
        if start == lower
    ]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT sum(pg_total_relation_size(name)) FROM unnest(%s::regclass[]) AS name",
            [names],
        )
        return int(cursor.fetchone()[0])


PICTURE = b"\x89PNG\r\n\x1a\n picture"


def body(inference_id="a", data=PICTURE, **fields):
    standard = {
        "data_hash": hashlib.sha256(data).hexdigest(),
        "data_size": len(data),
        "task_type": "Object Detection",
        "inference_action": "detect",
        "data_source": "quay-3",
        "latitude": 51.95,
        "longitude": 4.14,
    }
    box = {
        "label": "ship",
        "score": 0.97,
        "xmin": 10,
        "ymin": 10,
        "xmax": 60,
        "ymax": 40,
    }
    return {
        "model_id": "yolo-harbour",
        "inference_id": inference_id,
        "data": {
            "object_detection": [box],
            "metadata": {
                "standard_metadata": standard,
                "extended_metadata": [{"key": "frame", "type": "int", "value": "13"}],
            },
        },
        **fields,
    }


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def wish(model, inference_id: str = "a", call: str = "first") -> Wish:
    return Wish(model.pk, inference_id, digest(call))
