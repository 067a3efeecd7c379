"""Records with a counter, and questions about it."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from inferences.maintenance import zone_map_checks
from inferences.models import (
    InferenceAction,
    RegisteredModel,
)
from inferences.models.metadata_values import MetadataValue
from inferences.search.filters import MetadataFilter, matching
from inferences.search.pagination import Pagination
from inferences.search.query import InferenceQuery
from inferences.store.recording import NewInference, record
from istore.checks.verification import Scope
from istore.db.clock import now

START = datetime(2025, 6, 1, tzinfo=UTC)

SECONDS = 400

EXAMPLES = int(os.environ.get("ISTORE_EXAMPLES", "150")) // 4


def at(second: float) -> datetime:
    return START + timedelta(seconds=second)


def inference(
    name: str, second: float, metadata: dict[str, object] | None = None
) -> NewInference:
    if metadata is None:
        metadata = {"counter": int(second), "level": second / 10}
    types = {int: "int", float: "float", str: "string"}
    return NewInference(
        inference_id=name,
        inference_action=InferenceAction.DETECT,
        data_hash=bytes(32),
        created_at=at(second),
        metadata=[
            MetadataValue(key, types[type(value)], str(value))
            for key, value in metadata.items()
        ],
    )


def counting(model: RegisteredModel, rows: int = 100) -> None:
    record(model, [inference(str(number), number) for number in range(rows)])


def counter(operator: str, value: int | str) -> MetadataFilter:
    return MetadataFilter("counter", "int", operator, str(value))


def names(
    model: RegisteredModel, filters: object, direction: str = "desc"
) -> list[str]:
    page = InferenceQuery(filters, Pagination(direction, 50)).page(model)
    return [each.inference_id for each in page.inferences]


def plain(model: RegisteredModel, filters: object, direction: str) -> list[str]:
    order = "id" if direction == "asc" else "-id"
    found = matching(model, filters).order_by(order)
    return list(found.values_list("inference_id", flat=True))


def findings(repair: bool = False) -> list[str]:
    return [each.kind for each in zone_map_checks.segments(Scope(now(), repair=repair))]
