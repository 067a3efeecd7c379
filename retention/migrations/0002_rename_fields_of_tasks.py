"""Rename fields of tasks in Python. The columns keep their names, so no table changes."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("retention", "0001_initial")]

    operations = [
        migrations.AlterField(
            model_name="retentiontask",
            name="fruitless",
            field=models.PositiveSmallIntegerField(
                db_column="fruitless", default=0, editable=False
            ),
        ),
        migrations.RenameField(
            model_name="retentiontask",
            old_name="fruitless",
            new_name="attempts_without_progress",
        ),
        migrations.AlterField(
            model_name="retentiontask",
            name="rung_at",
            field=models.DateTimeField(db_column="rung_at", editable=False, null=True),
        ),
        migrations.RenameField(
            model_name="retentiontask",
            old_name="rung_at",
            new_name="notified_at",
        ),
    ]
