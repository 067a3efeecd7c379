"""The index by marker serves looks for a prefix as well, whatever the collation of the database."""

from django.contrib.postgres.operations import (
    AddIndexConcurrently,
    RemoveIndexConcurrently,
)
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("ingest", "0003_rename_permissions_of_dead_letters")]

    operations = [
        # One that an attempt left half built would end each further one.
        migrations.RunSQL(
            "DROP INDEX CONCURRENTLY IF EXISTS set_aside_by_marker_prefix",
            migrations.RunSQL.noop,
        ),
        AddIndexConcurrently(
            model_name="deadletter",
            index=models.Index(
                fields=["metadata_storage_key"],
                opclasses=["text_pattern_ops"],
                name="set_aside_by_marker_prefix",
            ),
        ),
        RemoveIndexConcurrently(model_name="deadletter", name="set_aside_by_marker"),
    ]
