"""The tables of ground truth. Rows are removed with their inference: see ``store.removal``."""

from __future__ import annotations

from typing import Any, Self

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import F, OuterRef

from istore.models import AuditEntry
from istore.tasks.tracking import TrackedTask


class GroundTruthQuerySet(models.QuerySet["GroundTruth"]):
    def beside(self, model: models.Model | OuterRef) -> Self:
        """Return the rows of one model. The id alone would also match rows of other models."""
        return self.filter(registered_model=model)


class GroundTruth(models.Model):
    """The current ground truth of one inference. The key in the database is (model_key, id)."""

    id = models.BigIntegerField(primary_key=True)
    registered_model = models.ForeignKey(
        "inferences.RegisteredModel",
        models.DO_NOTHING,
        related_name="+",
        db_column="model_key",
        db_constraint=False,
        db_index=False,
    )
    truth = models.JSONField(help_text="In one of the forms of ground_truth.truths.")
    agrees = models.BooleanField(
        null=True, help_text="Whether the answer agrees; null: that cannot be said."
    )
    actor = models.CharField(max_length=300)
    set_at = models.DateTimeField()

    objects = GroundTruthQuerySet.as_manager()

    def __str__(self) -> str:
        return f"actual of {self.id}"


class GroundTruthVersion(models.Model):
    """Ground truth that was replaced or removed: its value, who set it, and until when it held."""

    # The primary key in the database is (model_key, row_id, id). It serves the history of one
    # inference, and its removal.
    registered_model = models.ForeignKey(
        "inferences.RegisteredModel",
        models.CASCADE,
        "+",
        db_column="model_key",
        db_index=False,
    )
    row_id = models.BigIntegerField()
    truth = models.JSONField()
    actor = models.CharField(max_length=300)
    set_at = models.DateTimeField()
    replaced_by = models.CharField(max_length=300)
    replaced_at = models.DateTimeField()
    is_removal = models.BooleanField(default=False)

    def __str__(self) -> str:
        return f"former actual of {self.row_id}"


class PendingTruth(models.Model):
    """Ground truth whose inference is not stored yet.

    The inference that it belongs to has one of ``tokens``: see ``ground_truth.joining``.
    """

    # The primary key in the database is (model_key, id).
    registered_model = models.ForeignKey(
        "inferences.RegisteredModel",
        models.CASCADE,
        "+",
        db_column="model_key",
        db_index=False,
    )
    awaited = models.TextField(help_text="What it waits for, for people; once a model.")
    tokens = ArrayField(models.TextField())
    truth = models.JSONField()
    actor = models.CharField(max_length=300)
    set_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                "registered_model", "awaited", name="pending_truth_unique"
            )
        ]
        indexes = [
            # Read by recording, with the tokens of a batch.
            GinIndex("tokens", name="pending_truth_by_token"),
            # Read by the beat that deletes pending truths whose inference never came.
            models.Index(
                "registered_model", "set_at", name="pending_truth_by_model_age"
            ),
        ]

    def __str__(self) -> str:
        return self.awaited


class TruthFile(TrackedTask):
    """A file of ground truth that is too large to join while its sender waits.

    The file stays where uploads are staged, under a grant of its own, until it is joined.
    Joining is idempotent, so another worker may repeat it when the first one died.
    """

    runner = "inferences.tasks.join_truth_file"

    registered_model = models.ForeignKey(
        "inferences.RegisteredModel", models.CASCADE, related_name="truth_files"
    )
    created_by = models.CharField(max_length=300)
    form = models.CharField(max_length=16)
    options = models.JSONField(default=dict, help_text="How it is to be read.")
    size = models.PositiveBigIntegerField()
    storage_key = models.TextField()
    expected_count = models.PositiveBigIntegerField(
        default=0, help_text="Rows, or for a text at most so many."
    )
    progress_count = models.PositiveBigIntegerField(default=0)
    counts = models.JSONField(default=dict, help_text="What became of how many.")
    refusals = models.JSONField(default=list, help_text="The first that were refused.")

    class Meta:
        indexes = [
            models.Index(
                "registered_model", F("created_at").desc(), name="truth_file_by_model"
            )
        ]

    @property
    def done(self) -> int:
        return self.progress_count

    @property
    def expected(self) -> int:
        return self.expected_count

    def audit(self, actor: object, act: str, **details: Any) -> None:
        model = self.registered_model
        name = "file" if act == "create" else f"file_{act}"
        AuditEntry.write(
            actor,
            f"ground_truth.{name}",
            model.model_id,
            model.project,
            task=str(self.pk),
            **details,
        )
