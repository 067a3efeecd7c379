"""The label of a classification is its best class; the distribution has a place of its own.

Columns without a default and an empty table: nothing is rewritten, and the locks are held
for moments. Stored records are brought along by the beat (``inferences/store/class_migration.py``), beside
readers and writers; which models have such is marked here.
"""

from typing import Any

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

import inferences.models
from inferences.models.row_ids import LOWEST
from inferences.store.partitions import TABLES, add_range, partitioned, partitions_of

TASKS = ("Image Classification", "Text Classification", "Tabular Classification")
BESIDE = "inferences_inference"
(TABLE,) = (each for each in TABLES if each.name == "inferences_classprobability")


def make_the_same_partitions(apps: Any, schema_editor: Any) -> None:
    for name, (lower, upper) in partitions_of(BESIDE).items():
        suffix = name.removeprefix(f"{BESIDE}_")
        for statement in add_range(lower, upper, suffix, [TABLE]):
            schema_editor.execute(statement)


def mark_models(apps: Any, schema_editor: Any) -> None:
    found = apps.get_model("inferences", "RegisteredModel").objects
    found.filter(task_type__in=TASKS).update(awaits_classes_from=LOWEST)


class Migration(migrations.Migration):
    dependencies = [("inferences", "0022_number_first_class")]

    operations = [
        migrations.AddField(
            "registeredmodel",
            "awaits_classes_from",
            models.BigIntegerField(
                null=True,
                editable=False,
                help_text="From here on rows may hold a distribution as labels: "
                "see classes.py.",
            ),
        ),
        migrations.AddField(
            "inference",
            "classes",
            django.contrib.postgres.fields.ArrayField(
                base_field=models.IntegerField(), null=True, size=None
            ),
        ),
        migrations.AddField(
            "inference",
            "probabilities",
            django.contrib.postgres.fields.ArrayField(
                base_field=inferences.models.RealField(), null=True, size=None
            ),
        ),
        migrations.CreateModel(
            name="ClassProbability",
            fields=[
                ("id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("score", inferences.models.RealField(null=True)),
                (
                    "label",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="inferences.labelname",
                    ),
                ),
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
            options={"abstract": False},
        ),
        migrations.RunSQL(partitioned(TABLE), migrations.RunSQL.noop),
        migrations.RunPython(make_the_same_partitions, migrations.RunPython.noop),
        migrations.RunPython(mark_models, migrations.RunPython.noop),
    ]
