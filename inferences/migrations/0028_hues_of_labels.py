from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("inferences", "0027_index_clock_anomalies")]

    operations = [
        migrations.AddField(
            model_name="labelname",
            name="hue",
            field=models.SmallIntegerField(
                help_text="The colour a person chose; null: by first appearance.",
                null=True,
            ),
        )
    ]
