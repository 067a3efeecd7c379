"""When retention removed an input, beside the record that stays."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("inferences", "0007_ground_truth")]

    operations = [
        migrations.AddField(
            "inferencepayload",
            "input_expired_at",
            models.DateTimeField(null=True),
        )
    ]
