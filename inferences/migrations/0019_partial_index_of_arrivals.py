"""The index of arrivals becomes partial, so that no look for an id can take it.

Both steps go on beside readers and writers. What is stored stays as it is.
"""

from django.contrib.postgres.operations import (
    AddIndexConcurrently,
    RemoveIndexConcurrently,
)
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("inferences", "0018_make_model_ids_unique_in_a_project")]

    operations = [
        # One that an attempt left half built would end each further one.
        migrations.RunSQL(
            "DROP INDEX CONCURRENTLY IF EXISTS key_by_arrival_order",
            migrations.RunSQL.noop,
        ),
        AddIndexConcurrently(
            model_name="inferencekey",
            index=models.Index(
                "registered_model",
                "arrival",
                name="key_by_arrival_order",
                condition=models.Q(arrival__gte=0),
            ),
        ),
        RemoveIndexConcurrently(model_name="inferencekey", name="key_by_arrival"),
    ]
