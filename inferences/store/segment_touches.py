"""Touches: how a statement that writes inferences tells the segments of zone maps.

Whoever adds rows, removes or hides live ones, or changes a column that segments summarise adds
touches in the same transaction, and in a statement that locks the inference table or after
one. Such a statement takes its snapshot when it holds the lock. So it sees every segment that
was announced before, and ``zone_maps.build`` waits for the writers that came earlier. Writes
therefore run in READ COMMITTED, which the connections set.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connection

from inferences.models import RegisteredModel
from inferences.models.zone_maps import Segment, SegmentTouch

SEGMENT, TOUCH = Segment._meta.db_table, SegmentTouch._meta.db_table


def touches_of(ids: str, *, keep_bounds: bool) -> str:
    """Return the INSERT of one touch for each segment that has one of the ids.

    ``ids`` is SQL that yields row ids of the model ``%(model)s``. ``keep_bounds`` says that the
    write leaves the bounds true, as hiding a row does: then pages go on skipping rows.
    """
    return f"""
    INSERT INTO {TOUCH} (model_key, lowest_id, highest_id, keeps_bounds)
    SELECT DISTINCT segment.model_key, segment.lowest_id, segment.highest_id, {keep_bounds}
    FROM ({ids}) AS written (id) CROSS JOIN LATERAL (
        SELECT model_key, lowest_id, highest_id FROM {SEGMENT}
        WHERE model_key = %(model)s AND highest_id >= written.id
        ORDER BY highest_id LIMIT 1
    ) AS segment
    -- Live rows lie above every segment: then this is all that is read.
    WHERE written.id <= (
        SELECT max(highest_id) FROM {SEGMENT} WHERE model_key = %(model)s)
    """


def touch(model: RegisteredModel, ids: Sequence[int], *, keep_bounds: bool) -> None:
    """Touch the segments of rows that the transaction has written before."""
    statement = touches_of("SELECT unnest(%(ids)s::bigint[])", keep_bounds=keep_bounds)
    with connection.cursor() as cursor:
        cursor.execute(statement, {"model": model.pk, "ids": list(ids)})
