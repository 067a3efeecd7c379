"""Records whose time was corrected are found by the hour that their storage keys tell.

A rewrite of a pack looks for these rows, which are few, and whose ids are not of the pack's hour.
The index is built as that of warnings (0015): one partition after the other, beside writers, and
again where an earlier attempt broke off.
"""

from typing import Any

from django.db import migrations

TABLE, INDEX = "inferences_inferencepayload", "payload_with_clock_anomaly"
WHAT = (
    "(model_key, ((notes -> 'times' ->> 'received') COLLATE \"C\")) "
    "WHERE notes ? 'clock_anomaly'"
)
PARTITIONS = (
    "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
    "WHERE i.inhparent = to_regclass(%s) ORDER BY 1"
)
UNFINISHED = (
    "SELECT 1 FROM pg_index WHERE indexrelid = to_regclass(%s) AND NOT indisvalid"
)
ATTACHED = (
    "SELECT 1 FROM pg_inherits WHERE inhrelid = to_regclass(%s) "
    "AND inhparent = to_regclass(%s)"
)


def build(apps: Any, schema_editor: Any) -> None:
    with schema_editor.connection.cursor() as cursor:

        def is_so(query: str, *names: str) -> bool:
            cursor.execute(query, names)
            return cursor.fetchone() is not None

        cursor.execute(f"CREATE INDEX IF NOT EXISTS {INDEX} ON ONLY {TABLE} {WHAT}")
        cursor.execute(PARTITIONS, [TABLE])
        for (partition,) in cursor.fetchall():
            index = f"{partition}_anomaly"
            if is_so(UNFINISHED, index):
                cursor.execute(f"DROP INDEX CONCURRENTLY {index}")
            cursor.execute(
                f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {index} ON {partition} {WHAT}"
            )
            if not is_so(ATTACHED, index, INDEX):
                cursor.execute(f"ALTER INDEX {INDEX} ATTACH PARTITION {index}")


def drop(apps: Any, schema_editor: Any) -> None:
    schema_editor.execute(f"DROP INDEX IF EXISTS {INDEX}")


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("inferences", "0026_summarise_segments")]

    operations = [migrations.RunPython(build, drop)]
