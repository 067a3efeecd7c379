"""Rename the model of dead letters. The table keeps its name, so nothing of it changes."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("ingest", "0001_initial")]

    operations = [
        migrations.AlterModelTable("SetAsideEvent", "ingest_setasideevent"),
        migrations.RenameModel("SetAsideEvent", "DeadLetter"),
        migrations.AlterModelOptions(
            "DeadLetter",
            {
                "ordering": ["-id"],
                "verbose_name": "dead letter",
                "verbose_name_plural": "dead letters",
            },
        ),
    ]
