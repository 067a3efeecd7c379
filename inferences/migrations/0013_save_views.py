import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("inferences", "0012_erase_by_value"),
    ]

    operations = [
        migrations.CreateModel(
            name="SavedView",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                ("name", models.CharField(max_length=80)),
                (
                    "query",
                    models.TextField(
                        help_text="The query string: filters, columns, layout."
                    ),
                ),
                (
                    "is_default",
                    models.BooleanField(
                        default=False,
                        help_text="What the list shows when nothing is asked.",
                    ),
                ),
                ("created_by", models.CharField(max_length=300)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "registered_model",
                    models.ForeignKey(
                        db_column="model_key",
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="saved_views",
                        to="inferences.registeredmodel",
                    ),
                ),
            ],
            options={
                "ordering": ["name"],
                "constraints": [
                    models.UniqueConstraint(
                        models.F("registered_model"),
                        models.F("name"),
                        name="saved_view_name_unique",
                    ),
                    models.UniqueConstraint(
                        models.F("registered_model"),
                        condition=models.Q(("is_default", True)),
                        name="saved_view_one_default",
                    ),
                ],
            },
        ),
    ]
