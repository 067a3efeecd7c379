"""Answers with their ground truth, as quality measures them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

import numpy as np

from inferences.api.creating import read_creation
from inferences.ground_truth.joining import Actual, join
from inferences.ground_truth.references import Reference
from inferences.ground_truth.truths import read_truth
from inferences.models import RegisteredModel
from inferences.store.creation import compose
from inferences.store.recording import record
from istore.db import clock

START = datetime(2025, 6, 1, tzinfo=UTC)


def classes(rows: int = 60, names: str = "abc", seed: int = 1):
    random = Random(seed)
    made = []
    for _ in range(rows):
        scores = np.array([random.random() ** 2 for _ in names])
        scores = (scores / scores.sum()).round(6).tolist()
        actual = random.choices(names, [each + 0.1 for each in scores])[0]
        made.append((dict(zip(names, scores, strict=True)), actual))
    return made


def parts_of(scores: dict[str, float]) -> dict:
    items = [{"label": label, "score": score} for label, score in scores.items()]
    return {"image_classification": items}


def store_answers(
    model: RegisteredModel, task: str, rows: list[tuple[dict, dict | None, dict]]
) -> None:
    """Store an answer for each row: its parts, what came true, and its metadata."""
    model.task_type = task
    model.save()
    new, actuals = [], []
    first = model.inferences.count()
    for number, (parts, truth, metadata) in enumerate(rows, first):
        name = f"i{number:04}"
        made = {
            "inference_id": name,
            "created_at": (START + timedelta(hours=number)).isoformat(),
            "data": {
                **parts,
                "metadata": {
                    "standard_metadata": {
                        "data_hash": "00" * 32,
                        "data_size": 1,
                        "task_type": task,
                        "inference_action": "predict",
                    },
                    "extended_metadata": [
                        {"key": key, "type": "string", "value": value}
                        for key, value in metadata.items()
                    ],
                },
            },
        }
        new.append(compose(model, read_creation(model, made), clock.now()))
        if truth is not None:
            reference = Reference("inference_id", name)
            actuals.append(Actual(reference, read_truth(truth, task)))
    record(model, new)
    join("test", model, actuals)
