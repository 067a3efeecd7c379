"""The big tables become partitioned ones. Nothing changes in Django's eyes: to it
``id`` is their primary key, to the database (model_key, id) is."""

from django.db import migrations

from inferences.store.partitions import TABLES, make_ahead, partitioned
from istore.db.clock import now

# Later tables are partitioned by the migrations that make them.
LATER = ("inferences_classprobability", "inferences_inferencetext")
FIRST = [table for table in TABLES if table.name not in LATER]


def make_first_partitions(apps, schema_editor):
    make_ahead(now(), FIRST)


def keyed_within_model(table):
    return [
        f"ALTER TABLE {table} DROP CONSTRAINT {table}_pkey",
        f"ALTER TABLE {table} ADD PRIMARY KEY (model_key, id)",
        # Vectors are read whole or not at all; compression would only cost.
        f"ALTER TABLE {table} ALTER vector SET STORAGE PLAIN",
    ]


class Migration(migrations.Migration):
    dependencies = [("inferences", "0001_initial")]

    operations = [
        *[migrations.RunSQL(partitioned(table)) for table in FIRST],
        migrations.RunSQL(keyed_within_model("inferences_embedding")),
        migrations.RunSQL(keyed_within_model("inferences_recentembedding")),
        # Copied by every partition that is made from here on.
        migrations.RunSQL(
            "ALTER TABLE inferences_inference ADD CONSTRAINT inference_hash_is_sha256 "
            "CHECK (octet_length(data_hash) = 32)"
        ),
        migrations.RunSQL(
            "ALTER TABLE inferences_inference ADD CONSTRAINT inference_on_the_globe "
            "CHECK (latitude BETWEEN -90 AND 90 AND longitude BETWEEN -180 AND 180)"
        ),
        migrations.RunSQL("CREATE SEQUENCE inferences_row CACHE 1000 CYCLE"),
        migrations.RunPython(make_first_partitions),
    ]
