"""A table of the lake is marked before its files go, so that a drop that broke off is ended."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("exports", "0005_keep_a_lake")]

    operations = [
        migrations.AddField(
            model_name="laketable",
            name="dropped_at",
            field=models.DateTimeField(
                editable=False,
                help_text="It is gone for everybody; its files are being deleted.",
                null=True,
            ),
        ),
    ]
