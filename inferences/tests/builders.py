"""Values that tests of several modules build."""

from __future__ import annotations

import json

from django.db import connection

from inferences.models import ClassProbability, Detection, Inference, RegisteredModel
from inferences.models.metadata_values import MetadataValue
from inferences.models.row_ids import LOWEST


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
