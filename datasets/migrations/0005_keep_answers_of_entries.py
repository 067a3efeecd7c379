"""Columns for the labels and scores of answers, and an index of current inputs alone."""

import django.contrib.postgres.fields
from django.contrib.postgres.operations import (
    AddIndexConcurrently,
    RemoveIndexConcurrently,
)
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("datasets", "0004_rename_fields_of_tasks")]

    # Each may run again after a migration that broke off.
    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    "ALTER TABLE datasets_datasetentry "
                    "ADD COLUMN IF NOT EXISTS answer_labels text[] NULL, "
                    "ADD COLUMN IF NOT EXISTS answer_scores double precision[] NULL",
                    "ALTER TABLE datasets_datasetentry "
                    "DROP COLUMN IF EXISTS answer_labels, "
                    "DROP COLUMN IF EXISTS answer_scores",
                )
            ],
            state_operations=[
                migrations.AddField(
                    model_name="datasetentry",
                    name="answer_labels",
                    field=django.contrib.postgres.fields.ArrayField(
                        base_field=models.TextField(), null=True, size=None
                    ),
                ),
                migrations.AddField(
                    model_name="datasetentry",
                    name="answer_scores",
                    field=django.contrib.postgres.fields.ArrayField(
                        base_field=models.FloatField(null=True), null=True, size=None
                    ),
                ),
            ],
        ),
        migrations.RunSQL(
            "DROP INDEX CONCURRENTLY IF EXISTS dataset_entry_input",
            migrations.RunSQL.noop,
        ),
        AddIndexConcurrently(
            model_name="datasetentry",
            index=models.Index(
                models.F("dataset"),
                models.F("data_hash"),
                condition=models.Q(("gone_version", None)),
                name="dataset_entry_input",
            ),
        ),
        RemoveIndexConcurrently(model_name="datasetentry", name="dataset_entry_hash"),
    ]
