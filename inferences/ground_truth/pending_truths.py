"""Pending ground truth, whose inference is not stored yet: it is applied when that arrives.

Before a value becomes pending, its inference is searched once more under the lock of the
model's row, and ``awaits_truth`` is set there. Recording holds that row FOR SHARE until its
commit, and reads the flag in its one write statement. So either it sees the flag and then the
pending rows, or it committed before and its inferences were found. A pending value is for one
arrival: all matching inferences of one batch get it, and then it is deleted. Of several
values for the same inference the one that was given last counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import orjson
from django.conf import settings
from django.db import connection, transaction

from inferences.ground_truth.references import Reference, tokens_of
from inferences.ground_truth.writes import ACTOR_CHARS, Given, write
from inferences.models import InferenceKey, RegisteredModel
from inferences.models.ground_truth import PendingTruth

AT_ONCE = 10_000  # rows deleted by one statement
TABLE = PendingTruth._meta.db_table

# One round trip. Without sequential scans and with the other indexes hidden, only
# pending_truth_by_token is left to PostgreSQL, whatever its statistics.
TAKE = f"""
SET LOCAL enable_seqscan = off;
WITH met AS MATERIALIZED (  -- in one order: two batches cannot deadlock
    -- The sums hide the indexes of the model and of the ids: those tempt the planner to
    -- read all that waits, and to compare each with each token, a second for a thousand.
    SELECT id FROM {TABLE} WHERE model_key + 0 = %(model)s AND tokens && %(all)s
    ORDER BY id + 0 FOR UPDATE
), taken AS (
    DELETE FROM {TABLE} WHERE id IN (SELECT id FROM met)
    RETURNING id, tokens, truth, actor, set_at
)
SELECT keys.row_id, taken.truth::text, taken.actor, taken.set_at
-- By equality, which can be hashed: each actual beside each token was a second and more.
FROM taken CROSS JOIN LATERAL unnest(taken.tokens) AS awaited (token)
JOIN unnest(%(tokens)s::text[], %(ids)s::text[]) AS given (token, inference_id)
     ON given.token = awaited.token
CROSS JOIN LATERAL (  -- fenced as in lookup.py
    SELECT row_id FROM {InferenceKey._meta.db_table}
    WHERE model_key = %(model)s AND inference_id = given.inference_id OFFSET 0
) AS keys
ORDER BY taken.set_at, taken.id;
SET LOCAL enable_seqscan = on
"""


def apply(model: RegisteredModel, rows: Sequence[dict[str, Any]]) -> int:
    """Write pending ground truth to these rows, which this transaction has inserted.

    It is one query if nothing is pending for them. Returns how many inferences got a value.
    """
    tokens, ids = [], []
    for row in rows:
        digest = row["data_hash"].removeprefix(r"\x")
        for token in tokens_of(row["inference_id"], digest, row["metadata"]):
            tokens.append(token)
            ids.append(row["inference_id"])
    values: dict[str, Any] = {
        "model": model.pk,
        "tokens": tokens,
        "ids": ids,
        "all": list(dict.fromkeys(tokens)),
    }
    with connection.cursor() as cursor:
        cursor.execute(TAKE, values)
        cursor.nextset()  # past the first SET
        found = {
            row_id: Given(orjson.loads(truth), actor, set_at)
            for row_id, truth, actor, set_at in cursor.fetchall()
        }
    return write(model, found) if found else 0


@transaction.atomic
def wait(model: RegisteredModel, reference: Reference, given: Given) -> bool:
    """Store ground truth for an inference id as pending. Return False if the id exists by now."""
    # FOR NO KEY UPDATE excludes recording, which holds FOR SHARE, but no foreign key checks.
    held = RegisteredModel.objects.select_for_update(no_key=True).get(pk=model.pk)
    # A key without a row is only reserved: it has no record yet, so the value is pending.
    keys = InferenceKey.objects.filter(registered_model=model, row_id__isnull=False)
    if keys.filter(inference_id=reference.value).exists():
        return False
    # Not ``update_or_create``: that writes by the id alone, which no index serves.
    waiting = PendingTruth(
        registered_model=model,
        awaited=str(reference),
        tokens=reference.tokens,
        truth=given.truth,
        actor=given.actor[:ACTOR_CHARS],
        set_at=given.set_at,
    )
    PendingTruth.objects.bulk_create(
        [waiting],
        update_conflicts=True,
        unique_fields=["registered_model", "awaited"],
        update_fields=["tokens", "truth", "actor", "set_at"],
    )
    if not held.awaits_truth:
        RegisteredModel.objects.filter(pk=model.pk).update(awaits_truth=True)
    return True


def give_up(at: datetime) -> int:
    """Delete values that were pending for ``ISTORE_PENDING_TRUTH_DAYS``; return how many. For beat.

    Models without pending values lose the flag, so that recording does not look for them.
    """
    limit = at - timedelta(days=settings.ISTORE_PENDING_TRUTH_DAYS)
    gone = 0
    for model in RegisteredModel.objects.filter(awaits_truth=True).order_by("pk"):
        gone += _give_up(model, limit)
        _rest(model)
    return gone


def _give_up(model: RegisteredModel, limit: datetime) -> int:
    waiting = PendingTruth.objects.filter(registered_model=model)
    gone = 0
    while True:
        # Served by pending_truth_by_model_age.
        old = waiting.filter(set_at__lt=limit).order_by("set_at")
        ids = list(old.values_list("id", flat=True)[:AT_ONCE])
        gone += waiting.filter(id__in=ids).delete()[0]
        if len(ids) < AT_ONCE:
            return gone


@transaction.atomic
def _rest(model: RegisteredModel) -> None:
    """Clear ``awaits_truth`` of a model if nothing is pending, under the lock of its row."""
    locked = RegisteredModel.objects.select_for_update(no_key=True).filter(pk=model.pk)
    if (
        locked.first()
        and not PendingTruth.objects.filter(registered_model=model).exists()
    ):
        locked.update(awaits_truth=False)
