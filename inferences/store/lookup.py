"""Look up keys by inference ids, with one probe of the unique index for each id.

With a list of ids in a condition the planner may read all keys of the model instead. On a
table that was just filled, or whose statistics are from when it was small, it expects that
most keys match. A fenced probe for each id (LATERAL … OFFSET 0) leaves it no other plan,
and costs as much as the batch, however large the model is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from django.db import connection

from inferences.models import InferenceKey, RegisteredModel

AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class Key:
    """The key of a taken id. ``row_id`` is None while the id is only reserved."""

    row_id: int | None
    removed_at: datetime | None


KEYS = f"""
SELECT name, met.row_id, met.removed_at
FROM unnest(%(names)s::varchar[]) AS name
CROSS JOIN LATERAL (
    SELECT row_id, removed_at FROM {InferenceKey._meta.db_table}
    WHERE model_key = %(model)s AND inference_id = name OFFSET 0
) AS met
"""


def keys_of(model: RegisteredModel, names: Iterable[str]) -> dict[str, Key]:
    """Return the keys of these inference ids, by id; ids that are free are left out."""
    rest = iter(dict.fromkeys(names))
    found: dict[str, Key] = {}
    while some := list(islice(rest, AT_ONCE)):
        with connection.cursor() as cursor:
            cursor.execute(KEYS, {"model": model.pk, "names": some})
            found |= {name: Key(*state) for name, *state in cursor}
    return found


def row_ids_of(model: RegisteredModel, names: Iterable[str]) -> dict[str, int]:
    """Return the row ids of these inference ids, by id, if they are stored and not removed."""
    return {
        name: key.row_id
        for name, key in keys_of(model, names).items()
        if key.row_id is not None and key.removed_at is None
    }
