"""Maps of embeddings: bases of projections, points of laid out vectors, and the tasks."""

import uuid

import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import inferences.models.fields


class Migration(migrations.Migration):
    dependencies = [
        ("inferences", "0028_hues_of_labels"),
    ]

    operations = [
        migrations.CreateModel(
            name="MapPoint",
            fields=[
                ("id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("x", inferences.models.fields.RealField()),
                ("y", inferences.models.fields.RealField()),
                ("nearest", models.BigIntegerField(null=True)),
                ("distance", inferences.models.fields.RealField(null=True)),
                (
                    "registered_model",
                    models.ForeignKey(
                        db_column="model_key",
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="inferences.registeredmodel",
                    ),
                ),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="MapBasis",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                ("number", models.PositiveIntegerField()),
                (
                    "first",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.FloatField(), size=None
                    ),
                ),
                (
                    "second",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.FloatField(), size=None
                    ),
                ),
                (
                    "means",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.FloatField(), size=None
                    ),
                ),
                ("unit", models.FloatField()),
                (
                    "share",
                    models.FloatField(
                        help_text="Of the variance, along both components."
                    ),
                ),
                ("fitted_on", models.PositiveIntegerField()),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "registered_model",
                    models.ForeignKey(
                        db_column="model_key",
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="map_bases",
                        to="inferences.registeredmodel",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        models.F("registered_model"),
                        models.F("number"),
                        name="map_basis_unique",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="MapTask",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("scheduled", "Scheduled"),
                            ("running", "Running"),
                            ("complete", "Complete"),
                            ("failed", "Failed"),
                            ("stopped", "Stopped"),
                        ],
                        default="pending",
                        editable=False,
                        max_length=16,
                    ),
                ),
                (
                    "reason",
                    models.CharField(
                        blank=True,
                        editable=False,
                        help_text="Why it failed or stopped, or why the last attempt broke off.",
                        max_length=300,
                    ),
                ),
                ("attempt", models.PositiveIntegerField(default=0, editable=False)),
                (
                    "attempts_without_progress",
                    models.PositiveSmallIntegerField(
                        db_column="fruitless", default=0, editable=False
                    ),
                ),
                ("lease_until", models.DateTimeField(editable=False, null=True)),
                (
                    "notified_at",
                    models.DateTimeField(
                        db_column="rung_at", editable=False, null=True
                    ),
                ),
                ("stop_requested_at", models.DateTimeField(editable=False, null=True)),
                ("started_at", models.DateTimeField(editable=False, null=True)),
                ("finished_at", models.DateTimeField(editable=False, null=True)),
                ("claimed_at", models.DateTimeField(editable=False, null=True)),
                (
                    "done_when_claimed",
                    models.PositiveBigIntegerField(default=0, editable=False),
                ),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        editable=False,
                    ),
                ),
                (
                    "updated_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        editable=False,
                    ),
                ),
                ("number", models.PositiveIntegerField()),
                ("created_by", models.CharField(max_length=300)),
                (
                    "vectors",
                    models.PositiveIntegerField(
                        default=0, help_text="That were laid out."
                    ),
                ),
                ("progress_count", models.PositiveIntegerField(default=0)),
                (
                    "expected_count",
                    models.PositiveIntegerField(default=0, help_text="Steps."),
                ),
                (
                    "registered_model",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="map_tasks",
                        to="inferences.registeredmodel",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        models.F("registered_model"),
                        models.OrderBy(models.F("number"), descending=True),
                        name="map_task_by_model",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        models.F("registered_model"),
                        models.F("number"),
                        name="map_task_unique",
                    )
                ],
            },
        ),
        # As the other side tables: the id alone is one of several models.
        migrations.RunSQL(
            "ALTER TABLE inferences_mappoint DROP CONSTRAINT inferences_mappoint_pkey, "
            "ADD PRIMARY KEY (model_key, id)",
            migrations.RunSQL.noop,
        ),
    ]
