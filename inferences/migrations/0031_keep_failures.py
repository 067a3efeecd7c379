"""Models may keep calls that failed, and those are found by a partial index, the few they are.

The index is built as that of warnings (0015): one partition after the other, beside writers, and
again where an earlier attempt broke off. The column comes last, so that an attempt that broke off
can be run again.
"""

from typing import Any

from django.db import migrations, models

TABLE, INDEX = "inferences_inferencepayload", "payload_with_failure"
WHAT = "(model_key, id) WHERE notes ? 'failure'"
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
            index = f"{partition}_failure"
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
    dependencies = [("inferences", "0030_pin_models")]

    operations = [
        migrations.RunPython(build, drop),
        migrations.AlterField(
            "registeredmodel",
            "upstream_url",
            models.CharField(
                blank=True,
                help_text="The server that answers for it.",
                max_length=2048,
            ),
        ),
        # It may run again after a migration that broke off behind it.
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    "ALTER TABLE inferences_registeredmodel "
                    "ADD COLUMN IF NOT EXISTS keep_failures boolean DEFAULT false NOT NULL",
                    "ALTER TABLE inferences_registeredmodel "
                    "DROP COLUMN IF EXISTS keep_failures",
                )
            ],
            state_operations=[
                migrations.AddField(
                    "registeredmodel",
                    "keep_failures",
                    models.BooleanField(
                        "store failed calls",
                        db_default=False,
                        default=False,
                        help_text="Store calls that the server refused, failed, or did not "
                        "answer, too.",
                    ),
                ),
            ],
        ),
    ]
