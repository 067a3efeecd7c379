"""In which order inferences arrived: a column that old rows need not be rewritten for.

The sequence keeps no numbers back (no cache), so that a number drawn later is higher.
"""

from django.db import migrations, models

TABLE = "inferences_inferencekey"


class Migration(migrations.Migration):
    dependencies = [("inferences", "0009_name_a_text_embedding_service")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    [
                        "CREATE SEQUENCE inferences_arrival AS bigint",
                        f"ALTER TABLE {TABLE} ADD arrival bigint NOT NULL DEFAULT 0",
                        f"ALTER TABLE {TABLE} ALTER arrival "
                        "SET DEFAULT nextval('inferences_arrival')",
                    ],
                    [
                        f"ALTER TABLE {TABLE} DROP arrival",
                        "DROP SEQUENCE inferences_arrival",
                    ],
                )
            ],
            state_operations=[
                migrations.AddField(
                    model_name="inferencekey",
                    name="arrival",
                    field=models.BigIntegerField(
                        db_default=models.Func(
                            models.Value("inferences_arrival"), function="nextval"
                        ),
                        editable=False,
                    ),
                )
            ],
        )
    ]
