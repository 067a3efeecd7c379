"""Segments get summaries; writers touch segments in their own statements, without triggers.

The summaries of segments that exist are null, so nobody reads them until beat has built them.
"""

from importlib import import_module

from django.contrib.postgres.fields import ArrayField
from django.db import migrations, models

before = import_module("inferences.migrations.0014_bound_segments")
COUNTED = (
    "labels",
    "scores",
    "source_id",
    "inference_action",
    *(f"string_{number}" for number in range(1, 9)),
    *before.SLOTS,
)
MADE = [
    operation
    for operation in before.Migration.operations
    if isinstance(operation, migrations.RunSQL)
]


class Migration(migrations.Migration):
    dependencies = [("inferences", "0025_name_modules_in_help_texts")]

    operations = [
        *[migrations.RunSQL(made.reverse_sql, made.sql) for made in reversed(MADE)],
        migrations.AddField(
            "segmenttouch",
            "keeps_bounds",
            models.BooleanField(
                db_default=False,
                default=False,
                help_text="Only the summary may be wrong.",
            ),
        ),
        migrations.AddField(
            "segment",
            "live",
            models.IntegerField(
                help_text="Null: nothing is summarised yet.", null=True
            ),
        ),
        migrations.AddField(
            "segment",
            "filled",
            models.JSONField(help_text="Rows with a value, by number slot.", null=True),
        ),
        *[
            migrations.AddField(
                "segment", f"{column}_counts", models.JSONField(null=True)
            )
            for column in COUNTED
        ],
        *[
            migrations.AddField(
                "segment",
                f"{side}_scores",
                ArrayField(models.IntegerField(), null=True),
            )
            for side in ("top", "low")
        ],
    ]
