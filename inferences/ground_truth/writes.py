"""Write and remove ground truth, under the row locks of its inferences.

A removal takes the same lock. So ground truth is never written to a soft-deleted inference,
and none is left behind by a removal. A replaced value becomes a version, with who replaced it
and when.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from django.db import connection, transaction
from django.db.models.functions import Now

from inferences.ground_truth.agreement import agrees
from inferences.ground_truth.answers import predictions
from inferences.models import RegisteredModel
from inferences.models.ground_truth import GroundTruth, GroundTruthVersion

ACTOR_CHARS = 300  # a longer name of an actor is cut


@dataclass(frozen=True, slots=True)
class Given:
    """A value of ground truth to be written: in its form, by whom and when."""

    truth: dict[str, Any]
    actor: str
    set_at: datetime


@transaction.atomic
def write(model: RegisteredModel, given: Mapping[int, Given]) -> int:
    """Write the ground truth of rows; return how many changed. Soft-deleted rows are skipped."""
    held = _lock(model, list(given))
    if not held:
        return 0
    answers = predictions(model, {row_id: given[row_id].truth for row_id in held})
    rows = [
        {
            "id": row_id,
            "truth": given[row_id].truth,
            "agrees": agrees(given[row_id].truth, answers[row_id]),
            "actor": given[row_id].actor[:ACTOR_CHARS],
            "set_at": given[row_id].set_at.isoformat(),
        }
        for row_id in held
    ]
    with connection.cursor() as cursor:
        cursor.execute(WRITE, {"model": model.pk, "rows": orjson.dumps(rows).decode()})
        count: int = cursor.rowcount
    return count


@transaction.atomic
def remove(actor: object, model: RegisteredModel, row_id: int) -> bool:
    """Remove the ground truth of a row and keep it as a version. Return False if there is none."""
    if not _lock(model, [row_id]):
        return False
    found = GroundTruth.objects.beside(model).filter(id=row_id)
    before = found.first()
    if before is None:
        return False
    GroundTruthVersion.objects.create(
        registered_model=model,
        row_id=row_id,
        truth=before.truth,
        actor=before.actor,
        set_at=before.set_at,
        replaced_by=str(actor)[:ACTOR_CHARS],
        replaced_at=Now(),
        is_removal=True,
    )
    found.delete()
    return True


def _lock(model: RegisteredModel, ids: list[int]) -> list[int]:
    """Lock the live rows among these ids, in id order so that two writers cannot deadlock."""
    rows = model.inferences.live_among(ids).order_by("id")
    return list(rows.select_for_update(of=("self",)).values_list("id", flat=True))


TABLE = GroundTruth._meta.db_table
WRITE = f"""
WITH given AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(rows)s) AS given
        (id bigint, truth jsonb, agrees boolean, actor text, set_at timestamptz)
), versions AS (
    INSERT INTO {GroundTruthVersion._meta.db_table}
        (model_key, row_id, truth, actor, set_at, replaced_by, replaced_at, is_removal)
    SELECT %(model)s, old.id, old.truth, old.actor, old.set_at,
           given.actor, given.set_at, false
    FROM given CROSS JOIN LATERAL (  -- fenced as in lookup.py
        SELECT id, truth, actor, set_at FROM {TABLE}
        WHERE model_key = %(model)s AND id = given.id OFFSET 0
    ) AS old
    WHERE old.truth <> given.truth
)
INSERT INTO {TABLE} AS kept (id, model_key, truth, agrees, actor, set_at)
SELECT id, %(model)s, truth, agrees, actor, set_at FROM given ORDER BY id
ON CONFLICT (model_key, id) DO UPDATE SET truth = excluded.truth,
    agrees = excluded.agrees, actor = excluded.actor, set_at = excluded.set_at
WHERE kept.truth <> excluded.truth
"""
