"""Columns and indexes by which traces are listed.

Columns are added without a rewrite, and the indexes built beside those who write.
"""

import django.db.models.deletion
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("inferences", "0030_pin_models"),
        ("istore", "__first__"),
        ("traces", "0001_spans"),
    ]

    operations = [
        # One statement, and one that may run again after a migration that broke off.
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    "ALTER TABLE traces_span "
                    "ADD COLUMN IF NOT EXISTS project_key bigint NULL, "
                    "ADD COLUMN IF NOT EXISTS service varchar(255) DEFAULT '' NOT NULL, "
                    "ADD COLUMN IF NOT EXISTS session varchar(255) DEFAULT '' NOT NULL",
                    "ALTER TABLE traces_span DROP COLUMN IF EXISTS project_key, "
                    "DROP COLUMN IF EXISTS service, DROP COLUMN IF EXISTS session",
                )
            ],
            state_operations=[
                migrations.AddField(
                    model_name="span",
                    name="project",
                    field=models.ForeignKey(
                        db_column="project_key",
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="istore.project",
                    ),
                ),
                migrations.AddField(
                    model_name="span",
                    name="service",
                    field=models.CharField(
                        blank=True, db_default="", default="", max_length=255
                    ),
                ),
                migrations.AddField(
                    model_name="span",
                    name="session",
                    field=models.CharField(
                        blank=True, db_default="", default="", max_length=255
                    ),
                ),
            ],
        ),
        migrations.RunSQL(
            "DROP INDEX CONCURRENTLY IF EXISTS span_by_time", migrations.RunSQL.noop
        ),
        AddIndexConcurrently(
            model_name="span",
            index=models.Index(
                fields=[
                    "project",
                    "started_at",
                    "trace_id",
                    "registered_model",
                    "span_id",
                ],
                name="span_by_time",
            ),
        ),
        migrations.RunSQL(
            "DROP INDEX CONCURRENTLY IF EXISTS span_by_trace", migrations.RunSQL.noop
        ),
        AddIndexConcurrently(
            model_name="span",
            index=models.Index(
                fields=[
                    "project",
                    "trace_id",
                    "started_at",
                    "registered_model",
                    "span_id",
                ],
                name="span_by_trace",
            ),
        ),
        migrations.RunSQL(
            "DROP INDEX CONCURRENTLY IF EXISTS span_by_session", migrations.RunSQL.noop
        ),
        AddIndexConcurrently(
            model_name="span",
            index=models.Index(
                condition=models.Q(("session", ""), _negated=True),
                fields=["project", "session"],
                name="span_by_session",
            ),
        ),
    ]
