"""The tables of embedding maps: projections of a model's vectors to two dimensions.

A map of principal components is its basis alone: the database projects each vector when it is
asked. A map of neighbours (t-SNE) has a point for each vector that was laid out.
"""

from __future__ import annotations

from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F

from inferences.models.fields import RealField
from inferences.models.side_rows import SideRow
from istore.models import AuditEntry
from istore.tasks.tracking import TrackedTask


class MapBasis(models.Model):
    """Two principal components of a model's vectors; it is never changed, only followed.

    A filter on an area names the number of its basis, so that a link keeps its meaning.
    """

    registered_model = models.ForeignKey(
        "inferences.RegisteredModel",
        models.CASCADE,
        related_name="map_bases",
        db_column="model_key",
        db_index=False,
    )
    number = models.PositiveIntegerField()
    first = ArrayField(models.FloatField())
    second = ArrayField(models.FloatField())
    # Of the vectors along both components, and the unit of both axes: a standard deviation.
    means = ArrayField(models.FloatField())
    unit = models.FloatField()
    share = models.FloatField(help_text="Of the variance, along both components.")
    fitted_on = models.PositiveIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                "registered_model", "number", name="map_basis_unique"
            )
        ]

    def __str__(self) -> str:
        return f"pca.{self.number}"


class MapPoint(SideRow):
    """The place of an inference on its model's map of neighbours.

    ``nearest`` is the row of the nearest vector when it was laid out, ``distance`` the cosine
    distance to it.
    """

    x = RealField()
    y = RealField()
    nearest = models.BigIntegerField(null=True)
    distance = RealField(null=True)


class MapTask(TrackedTask):
    """The work of laying out a model's newest vectors by their neighbours.

    The points of the last complete task are those of the model; its number is that of the map.
    """

    runner = "inferences.tasks.lay_out_embeddings"

    registered_model = models.ForeignKey(
        "inferences.RegisteredModel", models.CASCADE, related_name="map_tasks"
    )
    number = models.PositiveIntegerField()
    created_by = models.CharField(max_length=300)
    vectors = models.PositiveIntegerField(default=0, help_text="That were laid out.")
    progress_count = models.PositiveIntegerField(default=0)
    expected_count = models.PositiveIntegerField(default=0, help_text="Steps.")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                "registered_model", "number", name="map_task_unique"
            )
        ]
        indexes = [
            models.Index(
                "registered_model", F("number").desc(), name="map_task_by_model"
            )
        ]

    def __str__(self) -> str:
        return f"tsne.{self.number}"

    @property
    def done(self) -> int:
        return self.progress_count

    @property
    def expected(self) -> int:
        return self.expected_count

    def audit(self, actor: object, act: str, **details: Any) -> None:
        """Write to the audit log that the actor did this with the map."""
        model = self.registered_model
        name = "map" if act == "create" else f"map_{act}"
        AuditEntry.write(
            actor,
            f"embeddings.{name}",
            model.model_id,
            model.project,
            map=str(self),
            **details,
        )
