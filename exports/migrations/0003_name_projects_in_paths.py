"""Files of schedules lie below their project; those that are there keep their paths."""

from django.db import migrations, models

HELP = "Whether the path of its files begins with the project."


class Migration(migrations.Migration):
    dependencies = [("exports", "0002_scheduled_exports")]

    operations = [
        migrations.AddField(
            model_name="exportschedule",
            name="names_project",
            field=models.BooleanField(default=False, editable=False, help_text=HELP),
        ),
        migrations.AlterField(
            model_name="exportschedule",
            name="names_project",
            field=models.BooleanField(default=True, editable=False, help_text=HELP),
        ),
    ]
