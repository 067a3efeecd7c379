"""Migrate classifications: the best class becomes the label, all classes the distribution.

Older records hold their distribution as labels and scores. Such a row has no ``classes``,
which tells it from the others. ``awaits_classes_from`` marks a model that may have such
rows. While it is set, filters, facets and statistics look at the best of a row's labels,
and the class filter looks at both places. Beat goes through these models, a batch of rows
in a transaction, beside readers and writers. The run may stop anywhere and start again:
finished batches stay, the next run continues about where the last one ended, and the mark
is cleared when a look at the whole model finds no such row.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from inferences.models import (
    ClassProbability,
    Detection,
    Inference,
    InferencePayload,
    RegisteredModel,
)
from inferences.models.row_ids import LOWEST
from inferences.store import segment_touches
from istore.db.advisory_lock import AdvisoryLock
from istore.failpoints import failpoint

logger = logging.getLogger(__name__)

RUN_SECONDS = 50.0
TOLD_SECONDS = 30.0  # between two log lines about the progress

ROW, DETECTED = Inference._meta.db_table, Detection._meta.db_table
# SKIP LOCKED: rows that a writer holds are left to the next run, so nobody waits and
# nothing can deadlock.
NEXT = f"""
WITH page AS MATERIALIZED (
    SELECT id FROM {ROW} WHERE model_key = %(model)s AND id >= %(lowest)s
    ORDER BY id LIMIT %(batch)s
), held AS (
    SELECT id FROM {ROW} WHERE model_key = %(model)s
    AND id = ANY(ARRAY(SELECT id FROM page))
    AND id BETWEEN (SELECT min(id) FROM page) AND (SELECT max(id) FROM page)
    AND classes IS NULL AND labels IS NOT NULL FOR UPDATE SKIP LOCKED
)
SELECT (SELECT max(id) FROM page), (SELECT count(*) FROM page),
       ARRAY(SELECT id FROM held)
"""
WAITING = f"""
SELECT EXISTS (SELECT FROM {ROW}
WHERE model_key = %s AND classes IS NULL AND labels IS NOT NULL)
"""
THOSE = "{0}.model_key = %(model)s AND {0}.id = ANY(%(ids)s) AND {0}.id BETWEEN %(low)s AND %(high)s"
# Rows with an intent are left out: a removal that is running deletes the side rows that
# existed when its statement began, and would leave those that are written here.
STAYING = f"""
SELECT id FROM {InferencePayload._meta.db_table} AS cold
WHERE {THOSE.format("cold")} AND removal_at IS NULL
"""
MOVE = f"""
UPDATE {ROW} AS row SET classes = labels, probabilities = scores
WHERE {THOSE.format("row")} AND classes IS NULL AND labels IS NOT NULL
"""
# Deletes by label and id, the columns of the index detection_by_label.
FORGET = f"""
DELETE FROM {DETECTED} AS side USING (
    SELECT DISTINCT row.id, label FROM {ROW} AS row, unnest(classes || labels) AS label
    WHERE {THOSE.format("row")}
) AS old
WHERE side.model_key = %(model)s AND side.label_id = old.label AND side.id = old.id
AND side.id BETWEEN %(low)s AND %(high)s
"""
# Of equal scores the first wins. A class without a score ranks last.
CHOOSE = f"""
UPDATE {ROW} AS row
SET labels = CASE WHEN best.number IS NULL THEN '{{}}' ELSE ARRAY[best.label] END,
    scores = CASE WHEN best.number IS NULL THEN '{{}}' ELSE ARRAY[best.score] END,
    top_score = best.score, low_score = best.score
FROM {ROW} AS old LEFT JOIN LATERAL (
    SELECT label, score, number FROM unnest(old.classes, old.probabilities)
    WITH ORDINALITY AS found (label, score, number)
    ORDER BY score DESC NULLS LAST, number LIMIT 1
) AS best ON true
WHERE {THOSE.format("old")} AND {THOSE.format("row")} AND row.id = old.id
"""
INDEX = f"""
INSERT INTO {DETECTED} (id, model_key, label_id, score)
SELECT row.id, row.model_key, labels[1], scores[1] FROM {ROW} AS row
WHERE {THOSE.format("row")} AND cardinality(labels) > 0
"""
DISTRIBUTE = f"""
INSERT INTO {ClassProbability._meta.db_table} (id, model_key, label_id, score)
SELECT row.id, row.model_key, each.label, each.score
FROM {ROW} AS row, unnest(classes, probabilities) AS each (label, score)
WHERE {THOSE.format("row")}
"""


def tell_apart(
    model: RegisteredModel,
    seconds: float = math.inf,
    tell: Callable[[str], None] = logger.info,
) -> int:
    """Migrate the rows of a model for at most so many seconds; return how many changed.

    It does nothing while another process migrates the same model.
    """
    lock = AdvisoryLock("inferences.store.class_migration", model.pk)
    with lock.try_hold() as is_ours:
        return _go_through(model, seconds, tell) if is_ours else 0


def _go_through(
    model: RegisteredModel, seconds: float, tell: Callable[[str], None]
) -> int:
    found = RegisteredModel.objects.filter(pk=model.pk)
    position = found.values_list("awaits_classes_from", flat=True).first()
    if position is None:
        return 0
    looked, changed = 0, 0
    begun = told_at = time.monotonic()
    while True:
        last, rows, brought = _tell_apart_next(model, position)
        if last is None:
            break
        position, looked, changed = last + 1, looked + rows, changed + brought
        failpoint("classes.batch")
        present = time.monotonic()
        if present - told_at > TOLD_SECONDS:
            told_at = present
            tell(f"Classes of model {model.pk}: {looked} records looked at.")
        if present - begun > seconds:
            found.update(awaits_classes_from=position)
            return changed
    waits = _waits(model)  # a row that was locked, or that is being removed
    found.update(awaits_classes_from=LOWEST if waits else None)
    ended = "some are met again later" if waits else "all are told apart"
    tell(f"Classes of model {model.pk}: {changed} records changed, {ended}.")
    return changed


def _waits(model: RegisteredModel) -> bool:
    """Return whether an old row is left. No lock is needed: new rows have their classes."""
    with connection.cursor() as cursor:
        cursor.execute(WAITING, [model.pk])
        return bool(cursor.fetchone()[0])


@transaction.atomic
def _tell_apart_next(
    model: RegisteredModel, lowest: int
) -> tuple[int | None, int, int]:
    """Migrate the next batch; return its last row id, its size, and how many rows changed."""
    with connection.cursor() as cursor:
        batch = settings.ISTORE_CLASS_MIGRATION_BATCH
        cursor.execute(NEXT, {"model": model.pk, "lowest": lowest, "batch": batch})
        last, number, ids = cursor.fetchone()
    return last, number, tell_apart_rows(model, ids)


def tell_apart_rows(model: RegisteredModel, ids: Sequence[int]) -> int:
    """Migrate rows that the caller's transaction has locked; return how many changed."""
    return _run(model, ids, MOVE, FORGET, CHOOSE, INDEX, DISTRIBUTE)


def choose_again(model: RegisteredModel, ids: Sequence[int]) -> int:
    """Make the best class the label again, of rows that have a distribution already."""
    return _run(model, ids, FORGET, CHOOSE, INDEX)


def _run(model: RegisteredModel, ids: Sequence[int], *statements: str) -> int:
    if not ids:
        return 0
    values: dict[str, Any] = {"model": model.pk, "low": min(ids), "high": max(ids)}
    with connection.cursor() as cursor:
        cursor.execute(STAYING, values | {"ids": list(ids)})
        staying = [row_id for (row_id,) in cursor]
        for statement in statements if staying else ():
            cursor.execute(statement, values | {"ids": staying})
    segment_touches.touch(model, staying, keep_bounds=True)
    return len(staying)


def tell_all_apart() -> None:
    """Migrate every waiting model, for ``RUN_SECONDS`` each; beat's next round continues."""
    for model in RegisteredModel.objects.exclude(awaits_classes_from=None):
        tell_apart(model, RUN_SECONDS)
