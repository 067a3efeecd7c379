"""Help texts name the modules of today. No table changes."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("inferences", "0024_rename_fields_of_tasks")]

    operations = [
        migrations.AlterField(
            "groundtruth",
            "truth",
            models.JSONField(help_text="In one of the forms of ground_truth.truths."),
        ),
        migrations.AlterField(
            "registeredmodel",
            "awaits_classes_from",
            models.BigIntegerField(
                null=True,
                editable=False,
                help_text="From here on labels may be a distribution: see "
                "store.class_migration.",
            ),
        ),
    ]
