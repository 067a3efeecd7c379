"""Who follows what arrives reads the keys of a model in that order."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("inferences", "0010_number_arrivals")]

    operations = [
        # One that an attempt left half built would end each further one.
        migrations.RunSQL(
            "DROP INDEX CONCURRENTLY IF EXISTS key_by_arrival",
            migrations.RunSQL.noop,
        ),
        AddIndexConcurrently(
            model_name="inferencekey",
            index=models.Index("registered_model", "arrival", name="key_by_arrival"),
        ),
    ]
