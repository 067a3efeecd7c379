"""Storage used by each model, for a plot: measured by beat, or by the first page view."""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import OperationalError
from django.db.models import Count, Q, Sum

from inferences.models import InferencePayload, InferenceQuerySet, RegisteredModel
from istore.accounts.access import Caller
from istore.best_effort_cache import recall, remember
from istore.checks.operations import sees_every_model
from istore.db import clock
from istore.db.statement_timeout import statement_timeout

KEY = "storage-by-model-key"
SHOWN = 12  # models in the plot
FIRST_LOOK_SECONDS = 1.0  # the longest that a page waits for a measurement


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of the plot; ``percent`` is relative to the largest model."""

    project_id: str
    model_id: str
    records: int
    bytes: int
    percent: float


def measure(seconds: float = math.inf) -> dict[str, Any] | None:
    """Measure records and input bytes of each model, and cache the result.

    It is only in the cache: losing it costs one measurement. Returns None if it would take
    longer than ``seconds``.
    """
    begun, models = time.monotonic(), []
    for model in RegisteredModel.objects.select_related("project"):
        left = seconds - (time.monotonic() - begun)
        if left <= 0:
            return None
        names = (model.pk, model.project.project_id, model.model_id)
        models.append((*names, *_of(model, left)))
    models.sort(key=lambda each: (-each[4], -each[3], each[2], each[1]))
    measured = {"at": clock.now(), "models": models}
    remember(KEY, measured)
    return measured


def _measured_at_once() -> dict[str, Any] | None:
    """Return a quick measurement, so that a small or new store need not wait for beat."""
    try:
        return measure(FIRST_LOOK_SECONDS)
    except OperationalError:
        return None


def _of(model: RegisteredModel, seconds: float) -> tuple[int, int]:
    with statement_timeout(seconds) if seconds < math.inf else nullcontext():
        return records_and_bytes(model, model.inferences.all())


def records_and_bytes(
    model: RegisteredModel, rows: InferenceQuerySet
) -> tuple[int, int]:
    """Return how many of the rows are live, and the bytes of inputs that still exist."""
    kept = InferencePayload.objects.beside(model).exclude(data_storage_key="")
    found = rows.aggregate(
        records=Count("id", filter=Q(deleted=False)),
        bytes=Sum("data_size", filter=Q(id__in=kept.values("id"))),
    )
    return found["records"], found["bytes"] or 0


def measured(model: RegisteredModel) -> tuple[int, datetime] | None:
    """Return the model's input bytes and when they were measured, or None if they never were."""
    measured = recall(KEY) or {"models": []}
    sizes = {key: size for key, *_, size in measured["models"]}
    size = sizes.get(model.pk)
    return None if size is None else (size, measured["at"])


def by_model(caller: Caller | None = None) -> dict[str, Any]:
    """Return the context of ``operations/_storage.html``: models the caller sees, largest first."""
    measured = recall(KEY) or _measured_at_once()
    if measured is None:
        return {"bars": [], "measured_at": None, "models": 0, "more": 0}
    models = measured["models"]
    if caller is not None and not sees_every_model(caller):
        seen = RegisteredModel.objects.visible_to(caller)
        own = set(seen.values_list("pk", flat=True))
        models = [model for model in models if model[0] in own]
    largest = max((size for *_, size in models), default=0) or 1
    bars = [
        Bar(project_id, model_id, records, size, 100 * size / largest)
        for _, project_id, model_id, records, size in models[:SHOWN]
        if records or size
    ]
    return {
        "bars": bars,
        "measured_at": measured["at"],
        "models": len(models),
        "more": max(0, len(models) - SHOWN),
    }
