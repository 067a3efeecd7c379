"""Records whose notes hold warnings are found by a partial index, the few they are.

One partition after the other, concurrently, so that writers go on; then the index of the
whole table takes those of the partitions. It may be run again: what is there stays, and an
index that an earlier attempt left half built is made anew. Stored records are in the index
as soon as it is built. ``warnings: []``, which imports could bring before, says nothing and
is taken out first.
"""

from typing import Any

from django.db import migrations

TABLE, INDEX = "inferences_inferencepayload", "payload_with_warnings"
WHAT = "(model_key, id) WHERE notes ? 'warnings'"
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
EMPTY = (
    f"UPDATE {TABLE} SET notes = notes - 'warnings' "
    "WHERE notes ? 'warnings' AND notes -> 'warnings' IN ('[]', 'null', '\"\"')"
)


def build(apps: Any, schema_editor: Any) -> None:
    with schema_editor.connection.cursor() as cursor:

        def is_so(query: str, *names: str) -> bool:
            cursor.execute(query, names)
            return cursor.fetchone() is not None

        cursor.execute(f"CREATE INDEX IF NOT EXISTS {INDEX} ON ONLY {TABLE} {WHAT}")
        cursor.execute(PARTITIONS, [TABLE])
        for (partition,) in cursor.fetchall():
            index = f"{partition}_warnings"
            if is_so(UNFINISHED, index):
                cursor.execute(f"DROP INDEX CONCURRENTLY {index}")
            cursor.execute(
                f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {index} ON {partition} {WHAT}"
            )
            if not is_so(ATTACHED, index, INDEX):
                cursor.execute(f"ALTER INDEX {INDEX} ATTACH PARTITION {index}")
        cursor.execute(EMPTY)


def drop(apps: Any, schema_editor: Any) -> None:
    schema_editor.execute(f"DROP INDEX IF EXISTS {INDEX}")


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("inferences", "0014_bound_segments")]

    operations = [migrations.RunPython(build, drop)]
