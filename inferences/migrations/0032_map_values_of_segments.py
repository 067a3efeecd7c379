"""Segments say which of their rows have a value, so that several conditions are counted exactly.

Columns without a default rewrite nothing. Every segment is built anew by the next runs of the
builder; until then its rows are read.
"""

from django.contrib.postgres.fields import ArrayField
from django.db import migrations

from inferences.models.fields import BitsField

COLUMNS = ["labels", "source_id", "inference_action"]
COLUMNS += [
    f"{kind}_{number}"
    for kind in ("string", "integer", "float")
    for number in range(1, 9)
]


class Migration(migrations.Migration):
    dependencies = [("inferences", "0031_keep_failures")]

    operations = [
        *(
            migrations.AddField(
                "segment", f"{column}_bits", ArrayField(BitsField(), null=True)
            )
            for column in COLUMNS
        ),
        migrations.RunSQL(
            "UPDATE inferences_segment SET live = NULL", migrations.RunSQL.noop
        ),
    ]
