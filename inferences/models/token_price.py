"""What tokens of language models cost, as operators enter it."""

from __future__ import annotations

from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q

from istore.models import Project


class TokenPrice(models.Model):
    """Prices of the tokens of models whose name fits a pattern, from a day on.

    A price without a project holds for all projects; a project's own stand above it.
    """

    project = models.ForeignKey(
        Project,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="token_prices",
        db_column="project_key",
        help_text="Empty: for all projects.",
    )
    model_pattern = models.CharField(
        "model",
        max_length=200,
        help_text="A model's name, where * stands for any characters: gpt-4o*.",
    )
    input_price = models.DecimalField(
        "input, per million tokens",
        max_digits=16,
        decimal_places=6,
        validators=[MinValueValidator(0)],
    )
    cached_input_price = models.DecimalField(
        "cached input, per million tokens",
        max_digits=16,
        decimal_places=6,
        null=True,
        blank=True,
        validators=[MinValueValidator(0)],
        help_text="Empty: as other input.",
    )
    output_price = models.DecimalField(
        "output, per million tokens",
        max_digits=16,
        decimal_places=6,
        validators=[MinValueValidator(0)],
    )
    currency = models.CharField(
        max_length=3,
        default="USD",
        validators=[RegexValidator(r"\A[A-Z]{3}\Z", "Three letters, such as USD.")],
    )
    valid_from = models.DateField(help_text="The first day on which it holds, in UTC.")
    created_by = models.CharField(max_length=300, editable=False, default="")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["model_pattern", "-valid_from", "id"]
        constraints = [
            models.UniqueConstraint(
                "project",
                "model_pattern",
                "valid_from",
                name="token_price_unique",
            ),
            models.UniqueConstraint(
                "model_pattern",
                "valid_from",
                condition=Q(project=None),
                name="token_price_of_all_unique",
            ),
            models.CheckConstraint(
                condition=Q(input_price__gte=0, output_price__gte=0)
                & (Q(cached_input_price=None) | Q(cached_input_price__gte=0)),
                name="token_price_not_negative",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model_pattern} from {self.valid_from}"
