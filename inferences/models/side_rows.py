"""Side rows of an inference: payload, detections, classes, overflow values and embedding."""

from __future__ import annotations

from typing import Self, TypeVar

from django.db import models
from django.db.models import Exists, OuterRef
from pgvector.django import VectorField

from inferences.models.fields import RealField
from inferences.models.metadata import LabelName, MetadataKey
from inferences.models.registered_model import RegisteredModel

# Stands in each ``HasSideRow``, so that whoever finds a page can turn it into ``BY_KEY``.
JOINABLE, BY_KEY = "/* side row */", "OFFSET 0"
Row = TypeVar("Row", bound="SideRow", covariant=True)


class HasSideRow(Exists):
    """Whether a side row of the inference passes a test: EXISTS, of rows with the inference's id.

    PostgreSQL may answer it by a join, or read all side rows that pass the test into a hash table
    before it looks at the first inference. That is best for who reads every inference. A page
    reads some thousand, and statistics do not tell how many side rows pass. So it puts ``BY_KEY`` for
    ``JOINABLE``: with an OFFSET the side row of each inference is looked up.
    """

    template = f"EXISTS(%(subquery)s {JOINABLE})"


class SideRowQuerySet(models.QuerySet[Row]):
    def beside(self, model: RegisteredModel | OuterRef) -> Self:
        """Return the rows of one model. The id alone would also match rows of other models."""
        return self.filter(registered_model=model)


class SideRow(models.Model):
    """A row that belongs to an inference and is found by the same two columns: model and id."""

    id = models.BigIntegerField(primary_key=True)
    registered_model = models.ForeignKey(
        RegisteredModel,
        models.DO_NOTHING,
        related_name="+",
        db_column="model_key",
        db_constraint=False,
        db_index=False,
    )

    objects = SideRowQuerySet.as_manager()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{type(self).__name__} of {self.id}"


class InferencePayload(SideRow):
    """The cold half of an inference: the columns of its page, and the state of its removal."""

    metadata = models.JSONField(
        default=dict, help_text="As given: {key: [type, text]}."
    )
    data = models.TextField(blank=True, help_text="The answer, as the model wrote it.")
    data_storage_key = models.TextField(blank=True, help_text="Empty: no input.")
    data_content_type = models.CharField(max_length=255, blank=True)
    answer_storage_key = models.TextField(blank=True)
    content_hash = models.BinaryField(help_text="Tells a copy from other content.")
    notes = models.JSONField(
        null=True, help_text="Warnings, the five moments, clock_anomaly."
    )
    # The two intents: see ``store.removal``.
    input_removal_at = models.DateTimeField(null=True)
    removal_at = models.DateTimeField(null=True)
    deleted_at = models.DateTimeField(null=True)
    input_expired_at = models.DateTimeField(null=True)  # when retention removed it

    @property
    def input_key(self) -> str:
        """The storage key of the input; empty if there is none, or it is gone or being removed."""
        return "" if self.input_removal_at else self.data_storage_key


class Detection(SideRow):
    """One label of an inference with its score. The row exists only as an index for filters."""

    score = RealField(null=True)
    label = models.ForeignKey(
        LabelName, models.DO_NOTHING, "+", db_constraint=False, db_index=False
    )


class ClassProbability(SideRow):
    """One class of a distribution. The row exists only as an index for filters."""

    score = RealField(null=True)
    label = models.ForeignKey(
        LabelName, models.DO_NOTHING, "+", db_constraint=False, db_index=False
    )


class OverflowText(SideRow):
    """A text value of a metadata key that has no slot."""

    key = models.ForeignKey(
        MetadataKey, models.DO_NOTHING, "+", db_constraint=False, db_index=False
    )
    value = models.TextField()


class OverflowNumber(SideRow):
    """A number of a metadata key that has no slot."""

    key = models.ForeignKey(
        MetadataKey, models.DO_NOTHING, "+", db_constraint=False, db_index=False
    )
    value = models.FloatField()


class Embedding(SideRow):
    """The vector of an inference, in the table that has the vector indexes of models."""

    vector = VectorField()


class RecentEmbedding(SideRow):
    """A vector that is not in ``Embedding`` yet. It is cheap to write and scanned exactly."""

    vector = VectorField()
