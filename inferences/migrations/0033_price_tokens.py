"""What tokens of language models cost."""

import django.core.validators
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("inferences", "0032_map_values_of_segments"),
        ("istore", "0010_find_releases_by_prefix"),
    ]

    operations = [
        migrations.CreateModel(
            name="TokenPrice",
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
                (
                    "model_pattern",
                    models.CharField(
                        help_text="A model's name, where * stands for any characters: gpt-4o*.",
                        max_length=200,
                        verbose_name="model",
                    ),
                ),
                (
                    "input_price",
                    models.DecimalField(
                        decimal_places=6,
                        max_digits=16,
                        validators=[django.core.validators.MinValueValidator(0)],
                        verbose_name="input, per million tokens",
                    ),
                ),
                (
                    "cached_input_price",
                    models.DecimalField(
                        blank=True,
                        decimal_places=6,
                        help_text="Empty: as other input.",
                        max_digits=16,
                        null=True,
                        validators=[django.core.validators.MinValueValidator(0)],
                        verbose_name="cached input, per million tokens",
                    ),
                ),
                (
                    "output_price",
                    models.DecimalField(
                        decimal_places=6,
                        max_digits=16,
                        validators=[django.core.validators.MinValueValidator(0)],
                        verbose_name="output, per million tokens",
                    ),
                ),
                (
                    "currency",
                    models.CharField(
                        default="USD",
                        max_length=3,
                        validators=[
                            django.core.validators.RegexValidator(
                                "\\A[A-Z]{3}\\Z", "Three letters, such as USD."
                            )
                        ],
                    ),
                ),
                (
                    "valid_from",
                    models.DateField(
                        help_text="The first day on which it holds, in UTC."
                    ),
                ),
                (
                    "created_by",
                    models.CharField(default="", editable=False, max_length=300),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "project",
                    models.ForeignKey(
                        blank=True,
                        db_column="project_key",
                        help_text="Empty: for all projects.",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="token_prices",
                        to="istore.project",
                    ),
                ),
            ],
            options={
                "ordering": ["model_pattern", "-valid_from", "id"],
                "constraints": [
                    models.UniqueConstraint(
                        models.F("project"),
                        models.F("model_pattern"),
                        models.F("valid_from"),
                        name="token_price_unique",
                    ),
                    models.UniqueConstraint(
                        models.F("model_pattern"),
                        models.F("valid_from"),
                        condition=models.Q(("project", None)),
                        name="token_price_of_all_unique",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("input_price__gte", 0),
                            ("output_price__gte", 0),
                            models.Q(
                                ("cached_input_price", None),
                                ("cached_input_price__gte", 0),
                                _connector="OR",
                            ),
                        ),
                        name="token_price_not_negative",
                    ),
                ],
            },
        ),
    ]
