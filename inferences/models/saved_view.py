"""Saved views of a model's inferences."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from inferences.models.registered_model import RegisteredModel


class SavedView(models.Model):
    """A named view of a model's inferences, shared by the project: filters, columns and layout."""

    registered_model = models.ForeignKey(
        RegisteredModel, models.CASCADE, "saved_views", db_column="model_key"
    )
    name = models.CharField(max_length=80)
    query = models.TextField(help_text="The query string: filters, columns, layout.")
    is_default = models.BooleanField(
        default=False, help_text="What the list shows when nothing is asked."
    )
    created_by = models.CharField(max_length=300)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                "registered_model", "name", name="saved_view_name_unique"
            ),
            models.UniqueConstraint(
                "registered_model",
                condition=Q(is_default=True),
                name="saved_view_one_default",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class PinnedModel(models.Model):
    """A model that a person keeps at the top of the list of models."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="pinned_models"
    )
    registered_model = models.ForeignKey(
        RegisteredModel, models.CASCADE, "+", db_column="model_key", db_index=False
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(
                "user", "registered_model", name="pinned_model_unique"
            )
        ]

    def __str__(self) -> str:
        return f"{self.user_id}: {self.registered_model_id}"
