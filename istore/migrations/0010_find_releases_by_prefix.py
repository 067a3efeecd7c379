from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("istore", "0009_note_packs_in_making")]

    operations = [
        # One that an attempt left half built would end each further one.
        migrations.RunSQL(
            "DROP INDEX CONCURRENTLY IF EXISTS released_by_pack_prefix",
            migrations.RunSQL.noop,
        ),
        AddIndexConcurrently(
            model_name="releasedmember",
            index=models.Index(
                fields=["pack_key"],
                opclasses=["text_pattern_ops"],
                name="released_by_pack_prefix",
            ),
        ),
    ]
