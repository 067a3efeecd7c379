"""Every key of a data table begins with the model, so that models can be spread over nodes.

The new unique indexes are built concurrently, beside readers and writers: about half a second for a
million rows, and most of these tables have far fewer. Then each table is locked for a moment, in
which the index becomes the primary key; all its columns are NOT NULL already, so no row is read.
When the lock cannot be had within two seconds, the migration lets others pass and tries again.

To Django ``id`` stays the primary key of these tables, and it is as unique as before: it comes from
a sequence. An index that the new key makes needless goes. It may be run again where it broke off.
"""

import time
from typing import Any

import django.db.models.deletion
from django.db import OperationalError, migrations, models, transaction

KEYS = {
    "inferences_metadatachange": "model_key, id",
    "inferences_groundtruthversion": "model_key, row_id, id",
    "inferences_pendingtruth": "model_key, id",
    "inferences_metadatakeycount": "model_key, id",
    "inferences_segmenttouch": "model_key, lowest_id, highest_id, id",
}
KEY_OF = (
    "SELECT o.conname, string_agg(a.attname, ', ' ORDER BY k.place) "
    "FROM pg_constraint o CROSS JOIN unnest(o.conkey) WITH ORDINALITY AS k (number, place) "
    "JOIN pg_attribute a ON a.attrelid = o.conrelid AND a.attnum = k.number "
    "WHERE o.conrelid = to_regclass(%s) AND o.contype = 'p' GROUP BY 1"
)
# The index of the foreign key of counts, whose name has a digest.
OF_THE_MODEL_ALONE = (
    "SELECT i.indexrelid::regclass::text FROM pg_index i "
    "JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] "
    "WHERE i.indrelid = to_regclass(%s) AND i.indnatts = 1 AND a.attname = 'model_key' "
    "AND NOT i.indisunique"
)
ATTEMPTS, LOCK_SECONDS = 30, 2


def _rows(schema_editor: Any, query: str, *values: str) -> list[Any]:
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(query, values)
        return list(cursor.fetchall())


def _replace(schema_editor: Any, table: str, columns: str) -> None:
    ((name, present),) = _rows(schema_editor, KEY_OF, table)
    if present == columns:
        return
    index = f"{table}_new_key"
    # One that an attempt left half built would not do.
    schema_editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {index}")
    schema_editor.execute(
        f"CREATE UNIQUE INDEX CONCURRENTLY {index} ON {table} ({columns})"
    )
    for attempt in range(ATTEMPTS):
        try:
            with transaction.atomic(schema_editor.connection.alias):
                schema_editor.execute(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
                schema_editor.execute(
                    f"ALTER TABLE {table} DROP CONSTRAINT {name}, "
                    f"ADD CONSTRAINT {table}_pkey PRIMARY KEY USING INDEX {index}"
                )
            return
        except OperationalError:  # somebody reads or writes the table for long
            if attempt == ATTEMPTS - 1:
                raise
            time.sleep(LOCK_SECONDS)


def give_keys(apps: Any, schema_editor: Any) -> None:
    for table, columns in KEYS.items():
        _replace(schema_editor, table, columns)


def give_keys_back(apps: Any, schema_editor: Any) -> None:
    for table in KEYS:
        _replace(schema_editor, table, "id")


def drop_index_of_counts(apps: Any, schema_editor: Any) -> None:
    for (index,) in _rows(
        schema_editor, OF_THE_MODEL_ALONE, "inferences_metadatakeycount"
    ):
        schema_editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {index}")


def drop(index: str, columns: str, table: str) -> migrations.RunSQL:
    return migrations.RunSQL(
        f"DROP INDEX CONCURRENTLY IF EXISTS {index}",
        f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {index} ON {table} ({columns})",
    )


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("inferences", "0035_vacuum_settings")]

    operations = [
        migrations.RunPython(give_keys, give_keys_back),
        migrations.SeparateDatabaseAndState(
            database_operations=[
                drop(
                    "truth_version_by_row",
                    "model_key, row_id",
                    "inferences_groundtruthversion",
                ),
                drop(
                    "segment_touch_by_id",
                    "model_key, lowest_id, highest_id",
                    "inferences_segmenttouch",
                ),
                migrations.RunPython(drop_index_of_counts, migrations.RunPython.noop),
            ],
            state_operations=[
                migrations.RemoveIndex("groundtruthversion", "truth_version_by_row"),
                migrations.RemoveIndex("segmenttouch", "segment_touch_by_id"),
                migrations.AlterField(
                    "metadatakeycount",
                    "registered_model",
                    models.ForeignKey(
                        db_column="model_key",
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="inferences.registeredmodel",
                    ),
                ),
            ],
        ),
    ]
