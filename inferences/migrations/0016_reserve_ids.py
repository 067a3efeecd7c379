"""The proxy reserves an id before its record is there: a key without a row.

The new columns are null in every row, so nothing is rewritten. The constraint is added
without looking at the rows there are, which all have a ``row_id``, and validated after, so
that writers are held up for a moment alone. What is stored stays as it is.
"""

from django.db import migrations, models

TABLE = "inferences_inferencekey"
CHECK = "key_has_row_or_is_reserved"


class Migration(migrations.Migration):
    dependencies = [("inferences", "0015_index_warnings")]

    operations = [
        migrations.AlterField(
            model_name="inferencekey",
            name="row_id",
            field=models.BigIntegerField(
                help_text="Null: reserved, and not stored yet.", null=True
            ),
        ),
        migrations.AddField(
            model_name="inferencekey",
            name="reservation",
            field=models.BinaryField(
                help_text="SHA-256 of the proxied call that the id is for.",
                max_length=32,
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="inferencekey",
            name="reserved_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    f"ALTER TABLE {TABLE} ADD CONSTRAINT {CHECK} CHECK "
                    "(row_id IS NOT NULL OR "
                    "(reservation IS NOT NULL AND reserved_at IS NOT NULL)) NOT VALID",
                    f"ALTER TABLE {TABLE} DROP CONSTRAINT {CHECK}",
                )
            ],
            state_operations=[
                migrations.AddConstraint(
                    model_name="inferencekey",
                    constraint=models.CheckConstraint(
                        condition=models.Q(row_id__isnull=False)
                        | models.Q(
                            reservation__isnull=False, reserved_at__isnull=False
                        ),
                        name=CHECK,
                    ),
                )
            ],
        ),
    ]
