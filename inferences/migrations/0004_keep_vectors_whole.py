"""Vectors of more than 2,000 numbers do not fit a page: those alone go out of line."""

from django.db import migrations

TABLES = ("inferences_embedding", "inferences_recentembedding")


class Migration(migrations.Migration):
    dependencies = [("inferences", "0003_keep_metadata_history")]

    operations = [
        *[
            migrations.RunSQL(
                [
                    f"ALTER TABLE {table} ALTER vector SET STORAGE EXTERNAL",
                    f"ALTER TABLE {table} SET (toast_tuple_target = 8160)",
                ],
                migrations.RunSQL.noop,
            )
            for table in TABLES
        ],
    ]
