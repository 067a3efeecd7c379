"""The panel of the operator page on vector indexes: which models have one, and what is built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from inferences.models import RegisteredModel
from inferences.search.vectors import indexing
from istore.accounts.access import Caller
from istore.checks.operations import sees_every_model

SHOWN = 12


@dataclass(frozen=True, slots=True)
class Row:
    """A model with its index: about how many vectors it holds, or the build that goes on."""

    model: RegisteredModel
    vectors: int
    build: indexing.Build | None


def panel(caller: Caller | None = None) -> dict[str, Any]:
    """Return the models with an index, those that are built first, for their panel."""
    sizes = indexing.count_by_model()
    building = {each.model_key: each for each in indexing.list_builds()}
    models = RegisteredModel.objects.filter(pk__in=[*sizes, *building])
    if caller is not None and not sees_every_model(caller):
        models = models.visible_to(caller)
    rows = [
        Row(model, sizes.get(model.pk, 0), building.get(model.pk))
        for model in models.select_related("project").order_by("model_id")
    ]
    rows.sort(key=lambda row: row.build is None)
    return {"rows": rows[:SHOWN], "more": max(0, len(rows) - SHOWN)}
