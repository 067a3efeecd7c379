"""Who follows what arrives reads the keys of a model in that order."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("inferences", "0010_number_arrivals")]

    operations = [
        AddIndexConcurrently(
            model_name="inferencekey",
            index=models.Index("registered_model", "arrival", name="key_by_arrival"),
        )
    ]
