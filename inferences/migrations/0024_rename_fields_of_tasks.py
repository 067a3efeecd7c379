"""Rename fields of tasks in Python. The columns keep their names, so no table changes."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("inferences", "0023_tell_classes_apart")]

    operations = [
        migrations.AlterField(
            model_name="erasuretask",
            name="fruitless",
            field=models.PositiveSmallIntegerField(
                db_column="fruitless", default=0, editable=False
            ),
        ),
        migrations.RenameField(
            model_name="erasuretask",
            old_name="fruitless",
            new_name="attempts_without_progress",
        ),
        migrations.AlterField(
            model_name="erasuretask",
            name="rung_at",
            field=models.DateTimeField(db_column="rung_at", editable=False, null=True),
        ),
        migrations.RenameField(
            model_name="erasuretask",
            old_name="rung_at",
            new_name="notified_at",
        ),
        migrations.AlterField(
            model_name="truthfile",
            name="fruitless",
            field=models.PositiveSmallIntegerField(
                db_column="fruitless", default=0, editable=False
            ),
        ),
        migrations.RenameField(
            model_name="truthfile",
            old_name="fruitless",
            new_name="attempts_without_progress",
        ),
        migrations.AlterField(
            model_name="truthfile",
            name="rung_at",
            field=models.DateTimeField(db_column="rung_at", editable=False, null=True),
        ),
        migrations.RenameField(
            model_name="truthfile",
            old_name="rung_at",
            new_name="notified_at",
        ),
    ]
