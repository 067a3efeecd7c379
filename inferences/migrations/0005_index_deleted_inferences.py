"""The few rows that are deleted and not yet gone: counts of labels leave them out."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("inferences", "0004_keep_vectors_whole")]

    operations = [
        migrations.RunSQL(
            "CREATE INDEX inference_deleted ON inferences_inference (model_key, id) "
            "WHERE deleted",
            "DROP INDEX inference_deleted",
        )
    ]
