"""Give spans that a process of an older release wrote what traces are listed by.

Such processes run beside this release while the store is upgraded. They leave ``project_key``
empty, and no list has these spans until it is filled.
"""

from __future__ import annotations

from django.db import connection

from inferences.models import InferencePayload, RegisteredModel
from traces.models import COLUMN_CHARS, Span

BATCH = 10_000  # rows of a transaction
# The rows without a project are found by the index ``span_by_time``.
FILL = f"""
WITH due AS (
    SELECT id FROM {Span._meta.db_table}
    WHERE model_key = %(model)s AND project_key IS NULL LIMIT {BATCH}
)
UPDATE {Span._meta.db_table} AS span SET project_key = %(project)s,
    service = left(coalesce(payload.metadata -> 'service' ->> 1, ''), {COLUMN_CHARS}),
    session = left(coalesce(payload.metadata -> 'conversation_id' ->> 1, ''), {COLUMN_CHARS})
FROM due LEFT JOIN {InferencePayload._meta.db_table} AS payload
    ON payload.model_key = %(model)s AND payload.id = due.id
WHERE span.model_key = %(model)s AND span.id = due.id
"""


def fill_columns() -> int:
    """Fill the columns of all such spans, model by model; return how many there were."""
    count = 0
    for model, project in RegisteredModel.objects.values_list("pk", "project_id"):
        more = True
        while more:
            with connection.cursor() as cursor:
                cursor.execute(FILL, {"model": model, "project": project})
                count += cursor.rowcount
                more = cursor.rowcount == BATCH
    return count
