"""Rows in the order of their arrival, for readers that must see every row exactly once.

A row id is the time of an event, so a late event lies before rows that were read long ago.
Arrivals are numbered by a sequence instead. Writers take FOR SHARE on the model row before
``nextval()``. So after FOR UPDATE on that row, every number up to ``last_value`` is
committed or rolled back: it is a safe high watermark.
"""

from __future__ import annotations

from django.db import connection, models, transaction
from django.db.models import Max

from inferences.models import InferenceKey, RegisteredModel

EARLIEST = -1  # below every number: rows from before there were numbers have 0
LOCK_SECONDS = 30


def committed_watermark(model: RegisteredModel) -> int:
    """Return the high watermark of a model: nothing up to it can still be written.

    It waits for batches that are being written; new batches wait for it, for a moment.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
        RegisteredModel.objects.select_for_update().get(pk=model.pk)
        # A statement of its own: it must not see the sequence as before the lock.
        cursor.execute(
            "SELECT last_value - (NOT is_called)::int FROM inferences_arrival"
        )
        last: int = cursor.fetchone()[0]
    return last


def count(
    model: RegisteredModel, after: int, through: int, most: int | None = None
) -> int:
    """Return how many rows arrived in (after, through], removed ones too, at most ``most``."""
    return _between(model, after, through)[:most].count()


def end_of_chunk(
    model: RegisteredModel, after: int, through: int, size: int
) -> int | None:
    """Return the last arrival number of the next ``size`` rows; None when there are none.

    Rows from before arrivals were numbered all have 0, so they come as one chunk.
    """
    numbers = _between(model, after, through).order_by("arrival")
    last: int | None = numbers[:size].aggregate(last=Max("arrival"))["last"]
    return last


def row_ids(model: RegisteredModel, after: int, through: int) -> list[int]:
    """Return the ids of rows that arrived in (after, through] and are not removed, sorted."""
    there = _between(model, after, through).filter(removed_at=None)
    ids = there.values_list("row_id", flat=True)
    return sorted(row_id for row_id in ids if row_id is not None)


def _between(
    model: RegisteredModel, after: int, through: int
) -> models.QuerySet[InferenceKey]:
    keys = InferenceKey.objects.filter(registered_model=model)
    # ``arrival >= 0`` is stated so that the partial index key_by_arrival_order can serve it:
    # see InferenceKey.
    return keys.filter(arrival__gte=0, arrival__gt=after, arrival__lte=through)
