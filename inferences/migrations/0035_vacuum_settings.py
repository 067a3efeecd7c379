"""Autovacuum visits each table as often as its use asks for (``store.vacuum_settings``).

Only the catalogue is written. Each table is held for a moment in a way that readers and writers do
not notice (SHARE UPDATE EXCLUSIVE); a vacuum that runs on it gives way. Rows stay where they are:
the room that ``fillfactor`` leaves comes with the pages that are written from now on.
"""

from typing import Any

from django.db import migrations

from inferences.store.partitions import TABLES, partitions_of
from inferences.store.vacuum_settings import OF_PARTITIONS, OF_TABLES, clause


def give(apps: Any, schema_editor: Any) -> None:
    wanted = dict(OF_TABLES)
    for table in TABLES:
        wanted |= dict.fromkeys(partitions_of(table.name), OF_PARTITIONS)
    for name, settings in wanted.items():
        schema_editor.execute(f"ALTER TABLE IF EXISTS {name} SET ({clause(settings)})")


class Migration(migrations.Migration):
    atomic = False  # a lock of each table for itself
    dependencies = [("inferences", "0034_search_texts")]

    operations = [migrations.RunPython(give, migrations.RunPython.noop)]
