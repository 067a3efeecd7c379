"""Reservations are found by their age; the constraint of 0016 holds for every row."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models

TABLE = "inferences_inferencekey"


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("inferences", "0016_reserve_ids")]

    operations = [
        migrations.RunSQL(
            f"ALTER TABLE {TABLE} VALIDATE CONSTRAINT key_has_row_or_is_reserved",
            migrations.RunSQL.noop,
        ),
        # One that an attempt left half built would end each further one.
        migrations.RunSQL(
            "DROP INDEX CONCURRENTLY IF EXISTS reservation_by_age",
            migrations.RunSQL.noop,
        ),
        AddIndexConcurrently(
            model_name="inferencekey",
            index=models.Index(
                "reserved_at",
                name="reservation_by_age",
                condition=models.Q(row_id__isnull=True),
            ),
        ),
    ]
