"""Schedules, their runs, and the files that these wrote."""

import uuid

import django.core.validators
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("exports", "0001_export_tasks"),
        ("inferences", "0012_erase_by_value"),
    ]

    operations = [
        migrations.CreateModel(
            name="ExportSchedule",
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
                ("name", models.CharField(max_length=100)),
                (
                    "selection",
                    models.JSONField(
                        blank=True,
                        default=dict,
                        help_text="filters, filter or query, as it was asked.",
                    ),
                ),
                (
                    "shape",
                    models.CharField(
                        choices=[
                            ("flat", "one row for each inference"),
                            ("exploded", "one row for each finding"),
                        ],
                        default="flat",
                        max_length=8,
                    ),
                ),
                (
                    "interval_hours",
                    models.PositiveIntegerField(
                        default=24,
                        help_text="Hours from one run to the next.",
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(8784),
                        ],
                    ),
                ),
                (
                    "destination",
                    models.CharField(
                        blank=True,
                        help_text="By its name; empty: the default store.",
                        max_length=64,
                    ),
                ),
                ("prefix", models.CharField(blank=True, max_length=300)),
                ("enabled", models.BooleanField(default=True)),
                ("created_by", models.CharField(editable=False, max_length=300)),
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
                ("position", models.BigIntegerField(default=-1, editable=False)),
                ("chunk_through", models.BigIntegerField(editable=False, null=True)),
                (
                    "exported_until",
                    models.DateTimeField(
                        editable=False,
                        help_text="What arrived before this moment has been exported.",
                        null=True,
                    ),
                ),
                ("last_scheduled_at", models.DateTimeField(editable=False, null=True)),
                (
                    "last_error",
                    models.CharField(blank=True, editable=False, max_length=300),
                ),
                ("last_error_at", models.DateTimeField(editable=False, null=True)),
                (
                    "row_count",
                    models.PositiveBigIntegerField(default=0, editable=False),
                ),
                (
                    "file_count",
                    models.PositiveBigIntegerField(default=0, editable=False),
                ),
                (
                    "model",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="export_schedules",
                        to="inferences.registeredmodel",
                    ),
                ),
            ],
            options={
                "ordering": ["model__model_id", "name"],
            },
        ),
        migrations.CreateModel(
            name="ExportedFile",
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
                ("key", models.TextField()),
                ("date", models.DateField()),
                ("arrived_after", models.BigIntegerField()),
                ("arrived_through", models.BigIntegerField()),
                ("row_count", models.PositiveBigIntegerField(default=0)),
                ("size", models.PositiveBigIntegerField(default=0)),
                ("sha256", models.CharField(blank=True, max_length=64)),
                ("committed_at", models.DateTimeField(null=True)),
                (
                    "schedule",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="exported_files",
                        to="exports.exportschedule",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="ScheduledExport",
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
                    "fruitless",
                    models.PositiveSmallIntegerField(default=0, editable=False),
                ),
                ("lease_until", models.DateTimeField(editable=False, null=True)),
                ("rung_at", models.DateTimeField(editable=False, null=True)),
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
                (
                    "through",
                    models.BigIntegerField(
                        editable=False,
                        help_text="The last arrival that is in it.",
                        null=True,
                    ),
                ),
                ("fixed_at", models.DateTimeField(editable=False, null=True)),
                (
                    "arrived_count",
                    models.PositiveBigIntegerField(default=0, editable=False),
                ),
                (
                    "passed_count",
                    models.PositiveBigIntegerField(default=0, editable=False),
                ),
                (
                    "row_count",
                    models.PositiveBigIntegerField(default=0, editable=False),
                ),
                (
                    "inference_count",
                    models.PositiveBigIntegerField(default=0, editable=False),
                ),
                (
                    "file_count",
                    models.PositiveBigIntegerField(default=0, editable=False),
                ),
                (
                    "left_out",
                    models.JSONField(
                        default=dict, editable=False, help_text="By reason."
                    ),
                ),
                (
                    "schedule",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="scheduled_exports",
                        to="exports.exportschedule",
                    ),
                ),
            ],
        ),
        migrations.AddConstraint(
            model_name="exportschedule",
            constraint=models.UniqueConstraint(
                models.F("model"), models.F("name"), name="export_schedule_name_unique"
            ),
        ),
        migrations.AddConstraint(
            model_name="exportschedule",
            constraint=models.UniqueConstraint(
                models.F("model"),
                models.F("destination"),
                models.F("prefix"),
                name="export_schedule_has_its_place_alone",
            ),
        ),
        migrations.AddConstraint(
            model_name="exportschedule",
            constraint=models.CheckConstraint(
                condition=models.Q(("interval_hours__gte", 1)),
                name="export_schedule_has_interval",
            ),
        ),
        migrations.AddIndex(
            model_name="exportedfile",
            index=models.Index(
                models.F("schedule"),
                models.OrderBy(models.F("id"), descending=True),
                name="exported_file_latest",
            ),
        ),
        migrations.AddConstraint(
            model_name="exportedfile",
            constraint=models.UniqueConstraint(
                models.F("schedule"), models.F("key"), name="exported_file_unique"
            ),
        ),
        migrations.AddIndex(
            model_name="scheduledexport",
            index=models.Index(
                models.F("schedule"),
                models.OrderBy(models.F("created_at"), descending=True),
                name="scheduled_export_latest",
            ),
        ),
        migrations.AddConstraint(
            model_name="scheduledexport",
            constraint=models.UniqueConstraint(
                models.F("schedule"),
                condition=models.Q(("state__in", ["pending", "scheduled", "running"])),
                name="scheduled_export_alone",
            ),
        ),
    ]
