"""Give spans that are stored already their project, service and session.

Batches of ``BATCH`` rows are committed one by one. The migration may run again, and does nothing
to rows that have their project.
"""

from typing import Any

from django.db import migrations

BATCH = 10_000
FILL = f"""
WITH due AS (
    SELECT span.model_key, span.id, model.project_key
    FROM traces_span AS span JOIN inferences_registeredmodel AS model
        ON model.id = span.model_key
    WHERE span.project_key IS NULL LIMIT {BATCH}
)
UPDATE traces_span AS span SET project_key = due.project_key,
    service = left(coalesce(payload.metadata -> 'service' ->> 1, ''), 255),
    session = left(coalesce(payload.metadata -> 'conversation_id' ->> 1, ''), 255)
FROM due LEFT JOIN inferences_inferencepayload AS payload
    ON payload.model_key = due.model_key AND payload.id = due.id
WHERE span.model_key = due.model_key AND span.id = due.id
"""


def fill(apps: Any, schema_editor: Any) -> None:
    with schema_editor.connection.cursor() as cursor:
        while True:
            cursor.execute(FILL)
            if not cursor.rowcount:
                return


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("inferences", "0034_search_texts"),
        ("traces", "0002_list_traces"),
    ]

    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
