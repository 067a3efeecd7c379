"""Segments get buckets of numbers with many values, and the ids of every so-manieth live row.

Columns without a default rewrite nothing. The next migration has every segment built anew.
"""

from django.contrib.postgres.fields import ArrayField
from django.db import migrations, models

FIELDS = {"integer": models.BigIntegerField, "float": models.FloatField}


class Migration(migrations.Migration):
    dependencies = [("inferences", "0037_ages_by_model")]

    operations = [
        *(
            migrations.AddField("segment", f"{kind}_{number}_{name}", field)
            for number in range(1, 9)
            for kind, of in FIELDS.items()
            for name, field in (
                ("edges", ArrayField(of(), null=True)),
                ("ranks", ArrayField(models.IntegerField(), null=True)),
            )
        ),
        migrations.AddField(
            "segment", "marks", ArrayField(models.BigIntegerField(), null=True)
        ),
    ]
