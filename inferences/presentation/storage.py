"""Storage by model: measured by the beat, shown as a plot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.core.cache import cache
from django.db.models import Count, Q, Sum

from inferences.models import InferencePayload, RegisteredModel
from istore import clock

KEY = "storage-by-model"
SHOWN = 12


@dataclass(frozen=True, slots=True)
class Bar:
    model_id: str
    records: int
    bytes: int
    percent: float


def measure() -> None:
    """Count records and bytes of inputs, a model at a time; kept until the next time.

    In the cache alone: losing it costs a measurement.
    """
    measured = [
        (model.model_id, *_of(model)) for model in RegisteredModel.objects.all()
    ]
    measured.sort(key=lambda each: (-each[2], -each[1], each[0]))
    told = {"at": clock.now(), "models": measured}
    cache.set(KEY, told, timeout=None)


def _of(model: RegisteredModel) -> tuple[int, int]:
    kept = InferencePayload.objects.beside(model).exclude(data_storage_key="")
    found = model.inferences.aggregate(
        records=Count("id", filter=Q(deleted=False)),
        bytes=Sum("data_size", filter=Q(id__in=kept.values("id"))),
    )
    return found["records"], found["bytes"] or 0


def by_model() -> dict[str, Any]:
    """For ``operations/_storage.html``: the largest models first."""
    told = cache.get(KEY)
    if told is None:
        return {"bars": [], "measured_at": None, "more": 0}
    models = told["models"]
    largest = max((size for _, _, size in models), default=0) or 1
    bars = [
        Bar(name, records, size, 100 * size / largest)
        for name, records, size in models[:SHOWN]
        if records or size
    ]
    return {
        "bars": bars,
        "measured_at": told["at"],
        "more": max(0, len(models) - SHOWN),
    }
