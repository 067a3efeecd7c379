"""Retention policies and their tasks."""

import uuid

import django.core.validators
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("inferences", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="RetentionPolicy",
            fields=[
                (
                    "maximum_record_age",
                    models.IntegerField(
                        help_text="Hours that records are kept; -1 for good.",
                        validators=[
                            django.core.validators.MinValueValidator(-1),
                            django.core.validators.MaxValueValidator(2147483647),
                        ],
                    ),
                ),
                (
                    "maximum_blob_age",
                    models.IntegerField(
                        help_text="Hours that inputs are kept; no more than records.",
                        validators=[
                            django.core.validators.MinValueValidator(0),
                            django.core.validators.MaxValueValidator(2147483647),
                        ],
                    ),
                ),
                (
                    "delete_action",
                    models.CharField(
                        choices=[
                            (
                                "soft",
                                "hide them; an administrator can restore them for a while",
                            ),
                            ("hard", "remove them for good"),
                        ],
                        default="soft",
                        max_length=8,
                    ),
                ),
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
                    "automated_interval",
                    models.IntegerField(
                        default=0,
                        help_text="Hours from one run to the next; 0 only when asked.",
                        validators=[
                            django.core.validators.MinValueValidator(0),
                            django.core.validators.MaxValueValidator(2147483647),
                        ],
                    ),
                ),
                (
                    "last_scheduled_at",
                    models.DateTimeField(blank=True, editable=False, null=True),
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
                    "model",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="retention_policy",
                        to="inferences.registeredmodel",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "retention policies",
                "ordering": ["model__model_id"],
            },
        ),
        migrations.CreateModel(
            name="RetentionTask",
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
                    "maximum_record_age",
                    models.IntegerField(
                        help_text="Hours that records are kept; -1 for good.",
                        validators=[
                            django.core.validators.MinValueValidator(-1),
                            django.core.validators.MaxValueValidator(2147483647),
                        ],
                    ),
                ),
                (
                    "maximum_blob_age",
                    models.IntegerField(
                        help_text="Hours that inputs are kept; no more than records.",
                        validators=[
                            django.core.validators.MinValueValidator(0),
                            django.core.validators.MaxValueValidator(2147483647),
                        ],
                    ),
                ),
                (
                    "delete_action",
                    models.CharField(
                        choices=[
                            (
                                "soft",
                                "hide them; an administrator can restore them for a while",
                            ),
                            ("hard", "remove them for good"),
                        ],
                        default="soft",
                        max_length=8,
                    ),
                ),
                ("dry_run", models.BooleanField(default=False)),
                ("requested_by", models.CharField(editable=False, max_length=300)),
                ("by_schedule", models.BooleanField(default=False, editable=False)),
                ("maximum_record_age_limit", models.DateTimeField()),
                ("maximum_blob_age_limit", models.DateTimeField()),
                (
                    "is_whole",
                    models.BooleanField(
                        default=True,
                        editable=False,
                        help_text="Began at the very first inference.",
                    ),
                ),
                ("counted_at", models.DateTimeField(editable=False, null=True)),
                ("total_record_count", models.PositiveBigIntegerField(default=0)),
                ("total_blob_count", models.PositiveBigIntegerField(default=0)),
                ("total_bytes", models.PositiveBigIntegerField(default=0)),
                ("protected_record_count", models.PositiveBigIntegerField(default=0)),
                ("protected_blob_count", models.PositiveBigIntegerField(default=0)),
                ("deleted_record_count", models.PositiveBigIntegerField(default=0)),
                ("deleted_blob_count", models.PositiveBigIntegerField(default=0)),
                ("deleted_bytes", models.PositiveBigIntegerField(default=0)),
                ("open_batch", models.JSONField(editable=False, null=True)),
                (
                    "model",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="retention_tasks",
                        to="inferences.registeredmodel",
                    ),
                ),
                (
                    "policy",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="tasks",
                        to="retention.retentionpolicy",
                    ),
                ),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.AddConstraint(
            model_name="retentionpolicy",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("maximum_blob_age__gte", 0), ("maximum_record_age__gte", -1)
                ),
                name="retention_ages_in_range",
            ),
        ),
        migrations.AddConstraint(
            model_name="retentionpolicy",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("maximum_record_age", -1),
                    ("maximum_record_age__gte", models.F("maximum_blob_age")),
                    _connector="OR",
                ),
                name="retention_blobs_go_first",
            ),
        ),
        migrations.AddConstraint(
            model_name="retentionpolicy",
            constraint=models.CheckConstraint(
                condition=models.Q(("automated_interval__gte", 0)),
                name="retention_interval_in_range",
            ),
        ),
        migrations.AddIndex(
            model_name="retentiontask",
            index=models.Index(
                models.F("model"),
                models.F("created_at"),
                models.F("id"),
                name="retention_task_by_model",
            ),
        ),
        migrations.AddIndex(
            model_name="retentiontask",
            index=models.Index(
                models.F("created_at"),
                condition=models.Q(("state__in", ["pending", "scheduled", "running"])),
                name="retention_task_active",
            ),
        ),
        migrations.AddConstraint(
            model_name="retentiontask",
            constraint=models.UniqueConstraint(
                models.F("policy"),
                condition=models.Q(("state__in", ["pending", "scheduled", "running"])),
                name="retention_one_active_task",
            ),
        ),
    ]
