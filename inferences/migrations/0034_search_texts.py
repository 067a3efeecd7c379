"""Full-text search over prompts and answers: a table of their words, and the models' settings.

The table is empty and the columns have constant defaults: nothing is rewritten, and the locks are
held for moments. Beat starts a task for each model here that brings stored texts along
(``inferences/store/text_reindexing.py``).
"""

import uuid
from typing import Any

import django.contrib.postgres.search
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

from inferences.store.partitions import TABLES, add_range, partitioned, partitions_of

BESIDE = "inferences_inference"
(TABLE,) = (each for each in TABLES if each.name == "inferences_inferencetext")


def make_the_same_partitions(apps: Any, schema_editor: Any) -> None:
    for name, (lower, upper) in partitions_of(BESIDE).items():
        suffix = name.removeprefix(f"{BESIDE}_")
        for statement in add_range(lower, upper, suffix, [TABLE]):
            schema_editor.execute(statement)


def mark_models(apps: Any, schema_editor: Any) -> None:
    apps.get_model("inferences", "RegisteredModel").objects.update(
        awaits_text_index=True
    )


class Migration(migrations.Migration):
    dependencies = [
        ("inferences", "0033_price_tokens"),
    ]

    operations = [
        migrations.AddField(
            model_name="registeredmodel",
            name="awaits_text_index",
            field=models.BooleanField(
                db_default=False,
                default=False,
                editable=False,
                help_text="Beat is to start the indexing of stored texts.",
            ),
        ),
        migrations.AddField(
            model_name="registeredmodel",
            name="text_search",
            field=models.BooleanField(
                help_text="Index the words of prompts and answers. Null: if the task is about texts.",
                null=True,
                verbose_name="search texts",
            ),
        ),
        migrations.AddField(
            model_name="registeredmodel",
            name="text_search_language",
            field=models.CharField(
                db_default="simple",
                default="simple",
                help_text="A text search configuration of PostgreSQL; simple: words as they are.",
                max_length=63,
            ),
        ),
        migrations.CreateModel(
            name="InferenceText",
            fields=[
                ("id", models.BigIntegerField(primary_key=True, serialize=False)),
                (
                    "side",
                    models.SmallIntegerField(choices=[(1, "prompt"), (2, "answer")]),
                ),
                ("part", models.IntegerField(default=0)),
                ("words", django.contrib.postgres.search.SearchVectorField()),
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
        migrations.RunSQL(partitioned(TABLE), migrations.RunSQL.noop),
        migrations.RunPython(make_the_same_partitions, migrations.RunPython.noop),
        migrations.RunPython(mark_models, migrations.RunPython.noop),
        migrations.CreateModel(
            name="TextIndexTask",
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
                ("created_by", models.CharField(max_length=300)),
                ("position", models.BigIntegerField(editable=False, null=True)),
                (
                    "indexed_count",
                    models.PositiveBigIntegerField(default=0, help_text="Records."),
                ),
                (
                    "expected_count",
                    models.PositiveBigIntegerField(default=0, help_text="Records."),
                ),
                (
                    "registered_model",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="text_index_tasks",
                        to="inferences.registeredmodel",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        models.F("registered_model"),
                        models.F("created_at"),
                        name="text_index_task_by_model",
                    )
                ],
            },
        ),
    ]
