"""Schedules that go to the lake, and the names of its tables."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("exports", "0004_rename_fields_of_tasks"),
        ("inferences", "0034_search_texts"),
    ]

    operations = [
        migrations.CreateModel(
            name="LakeTable",
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
                ("namespace", models.CharField(max_length=100)),
                ("name", models.CharField(max_length=200)),
                ("shape", models.CharField(max_length=8)),
                (
                    "is_whole",
                    models.BooleanField(
                        default=False,
                        help_text="It has every inference of the model up to where its schedule came.",
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        editable=False,
                    ),
                ),
                ("tended_at", models.DateTimeField(editable=False, null=True)),
            ],
        ),
        migrations.RemoveConstraint(
            model_name="exportschedule",
            name="export_schedule_has_its_place_alone",
        ),
        migrations.AddField(
            model_name="exportschedule",
            name="format",
            field=models.CharField(
                choices=[
                    ("parquet", "Parquet files in folders of days"),
                    ("iceberg", "an Iceberg table in the lake"),
                ],
                db_default="parquet",
                default="parquet",
                max_length=8,
            ),
        ),
        migrations.AddField(
            model_name="exportschedule",
            name="keeps_removed",
            field=models.BooleanField(
                db_default=True,
                default=True,
                help_text="Whether rows stay in the lake whose records the store has removed.",
            ),
        ),
        migrations.AddConstraint(
            model_name="exportschedule",
            constraint=models.UniqueConstraint(
                models.F("model"),
                models.F("destination"),
                models.F("prefix"),
                condition=models.Q(("format", "parquet")),
                name="export_schedule_has_its_place_alone",
            ),
        ),
        migrations.AddConstraint(
            model_name="exportschedule",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("format", "parquet"),
                    models.Q(("destination", ""), ("prefix", "")),
                    _connector="OR",
                ),
                name="export_schedule_of_lake_has_no_place",
            ),
        ),
        migrations.AddField(
            model_name="laketable",
            name="model",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="lake_tables",
                to="inferences.registeredmodel",
            ),
        ),
        migrations.AddField(
            model_name="laketable",
            name="schedule",
            field=models.OneToOneField(
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="lake_table",
                to="exports.exportschedule",
            ),
        ),
        migrations.AddConstraint(
            model_name="laketable",
            constraint=models.UniqueConstraint(
                models.F("namespace"), models.F("name"), name="lake_table_name_unique"
            ),
        ),
    ]
