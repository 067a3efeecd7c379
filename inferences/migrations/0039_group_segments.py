"""Groups of segments: sums of consecutive ones, which the builder makes.

Every segment is built anew by the next runs of the builder, with the columns of the migration before;
until then its rows are read. That update stands here, and first: behind the ALTER TABLE, in one
transaction, each count would have to wait for it.
"""

import django.db.models.deletion
from django.contrib.postgres.fields import ArrayField
from django.db import migrations, models

from inferences.store.vacuum_settings import OF_TABLES, clause

TABLE = "inferences_segmentgroup"
FIELDS = {"integer": models.BigIntegerField, "float": models.FloatField}
COUNTED = ["labels", "scores", "source_id", "inference_action"]
COUNTED += [
    f"{kind}_{number}"
    for kind in ("string", "integer", "float")
    for number in range(1, 9)
]


def slots():
    for number in range(1, 9):
        for kind, of in FIELDS.items():
            slot = f"{kind}_{number}"
            yield f"{slot}_lowest", of(null=True)
            yield f"{slot}_highest", of(null=True)
            yield f"{slot}_edges", ArrayField(of(), null=True)
            yield f"{slot}_ranks", ArrayField(models.IntegerField(), null=True)


class Migration(migrations.Migration):
    dependencies = [("inferences", "0038_bucket_numbers_of_segments")]

    operations = [
        migrations.RunSQL(
            "UPDATE inferences_segment SET live = NULL", migrations.RunSQL.noop
        ),
        migrations.CreateModel(
            name="SegmentGroup",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "registered_model",
                        "highest_id",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("segment_count", models.IntegerField()),
                (
                    "built_at",
                    models.DateTimeField(
                        help_text="When the newest of them was built."
                    ),
                ),
                ("lowest_id", models.BigIntegerField()),
                ("highest_id", models.BigIntegerField()),
                *slots(),
                (
                    "live",
                    models.IntegerField(
                        help_text="Null: nothing is summarised yet.", null=True
                    ),
                ),
                (
                    "filled",
                    models.JSONField(
                        help_text="Rows with a value, by number slot.", null=True
                    ),
                ),
                *(
                    (f"{column}_counts", models.JSONField(null=True))
                    for column in COUNTED
                ),
                *(
                    (f"{side}_scores", ArrayField(models.IntegerField(), null=True))
                    for side in ("top", "low")
                ),
                (
                    "registered_model",
                    models.ForeignKey(
                        db_column="model_key",
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="inferences.registeredmodel",
                    ),
                ),
            ],
        ),
        migrations.RunSQL(
            f"ALTER TABLE {TABLE} SET ({clause(OF_TABLES[TABLE])})",
            migrations.RunSQL.noop,
        ),
    ]
