from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("istore", "0008_note_moved_blobs"),
    ]

    operations = [
        migrations.CreateModel(
            name="PackInMaking",
            fields=[
                ("pack_key", models.TextField(primary_key=True, serialize=False)),
                ("obsolete", models.JSONField(null=True)),
            ],
        ),
    ]
