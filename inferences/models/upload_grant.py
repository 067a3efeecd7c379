"""Grants to upload one object."""

from __future__ import annotations

from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models import Q

from inferences.models.registered_model import RegisteredModel


class UploadGrant(models.Model):
    """Permission for a caller to put one object to a staging key, until it expires."""

    id = models.BigAutoField(primary_key=True)
    registered_model = models.ForeignKey(
        RegisteredModel, models.CASCADE, related_name="upload_grants"
    )
    kind = models.CharField(
        max_length=8,
        choices=[(kind, kind) for kind in ("input", "metadata", "actuals")],
    )
    storage_key = models.TextField(unique=True)
    maximum_size = models.PositiveBigIntegerField(validators=[MaxValueValidator(2**53)])
    granted_to = models.CharField(max_length=300)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    bound_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [
            # Read by the beat task that deletes grants which expired unbound.
            models.Index(
                "expires_at", name="upload_unbound", condition=Q(bound_at__isnull=True)
            )
        ]

    def __str__(self) -> str:
        return self.storage_key
