"""Beat looks for old tombstones, reservations and pending truths model by model.

The indexes by age begin with the model. All steps go on beside readers and writers. To find the
few rows that they hold, the table of keys is read twice for each of its two indexes: about a
second in all for a million inferences that lie in memory.
"""

from django.contrib.postgres.operations import (
    AddIndexConcurrently,
    RemoveIndexConcurrently,
)
from django.db import migrations, models
from django.db.migrations.operations.base import Operation

INDEXES = (
    (
        "inferencekey",
        "tombstone_by_age",
        models.Index(
            "registered_model",
            "removed_at",
            name="tombstone_by_model_and_age",
            condition=models.Q(removed_at__isnull=False),
        ),
    ),
    (
        "inferencekey",
        "reservation_by_age",
        models.Index(
            "registered_model",
            "reserved_at",
            name="reservation_by_model_and_age",
            condition=models.Q(row_id__isnull=True),
        ),
    ),
    (
        "pendingtruth",
        "pending_truth_by_age",
        models.Index("registered_model", "set_at", name="pending_truth_by_model_age"),
    ),
)


def replace(model: str, old: str, index: models.Index) -> list[Operation]:
    return [
        # One that an attempt left half built would end each further one.
        migrations.RunSQL(
            f"DROP INDEX CONCURRENTLY IF EXISTS {index.name}", migrations.RunSQL.noop
        ),
        AddIndexConcurrently(model_name=model, index=index),
        RemoveIndexConcurrently(model_name=model, name=old),
    ]


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("inferences", "0036_keys_with_the_model")]

    operations = [step for each in INDEXES for step in replace(*each)]
