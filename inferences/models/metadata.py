"""Metadata keys, their changes and counts, and the words (labels and sources) of a model."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from inferences.models.choices import MetadataKind, MetadataType
from inferences.models.registered_model import RegisteredModel


class MetadataKey(models.Model):
    """The place where a model keeps the values of one key and kind: a slot column, or side rows."""

    id = models.AutoField(primary_key=True)
    registered_model = models.ForeignKey(
        RegisteredModel, models.CASCADE, "metadata_keys", db_column="model_key"
    )
    # Longer than a key may be: for JSON it holds a path into the value.
    key = models.CharField(max_length=1024)
    kind = models.CharField(max_length=11, choices=MetadataKind)
    slot = models.CharField(max_length=9, blank=True, help_text="Empty: side rows.")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                "registered_model", "key", "kind", name="metadata_key_unique"
            ),
            models.UniqueConstraint(
                "registered_model",
                "slot",
                condition=~Q(slot=""),
                name="metadata_slot_unique",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.key} ({self.kind})"


class MetadataKeyCount(models.Model):
    """A change of the number of values of a key and type, written once per batch.

    Every write appends a row, readers sum them, and the maintenance beat compacts them. So
    no row is updated by many writers at once.
    """

    # The primary key in the database is (model_key, id). It serves readers of a model, too.
    registered_model = models.ForeignKey(
        RegisteredModel, models.CASCADE, "+", db_column="model_key", db_index=False
    )
    key = models.CharField(max_length=256)
    type = models.CharField(max_length=6, choices=MetadataType)
    delta = models.BigIntegerField()

    def __str__(self) -> str:
        return f"{self.key} ({self.type}): {self.delta:+}"


class MetadataChange(models.Model):
    """A change of one metadata value of an inference: it was added, replaced or removed.

    The values that an inference was stored with are not changes. Rows are removed with
    their inference.
    """

    # The primary key in the database is (model_key, id). It serves readers of a model's changes
    # in their order.
    registered_model = models.ForeignKey(
        RegisteredModel, models.CASCADE, "+", db_column="model_key", db_index=False
    )
    row_id = models.BigIntegerField()
    key = models.CharField(max_length=256)
    before = models.JSONField(null=True, help_text="[type, text]; null: it was absent.")
    after = models.JSONField(null=True, help_text="[type, text]; null: it was removed.")
    actor = models.CharField(max_length=300)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [
            # Read by the history of one inference, and by its removal.
            models.Index("registered_model", "row_id", name="metadata_change_by_row")
        ]

    def __str__(self) -> str:
        return f"{self.key}: {self.before} -> {self.after}"


class WordOfModel(models.Model):
    """A word of one model, which rows store as a number."""

    id = models.AutoField(primary_key=True)
    registered_model = models.ForeignKey(
        RegisteredModel, models.CASCADE, "+", db_column="model_key", db_index=False
    )
    name = models.TextField()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.name


class LabelName(WordOfModel):
    """A label. Detections and the arrays of the inference row hold its number."""

    hue = models.SmallIntegerField(
        null=True, help_text="The colour a person chose; null: by first appearance."
    )

    class Meta:
        constraints = [
            models.UniqueConstraint("registered_model", "name", name="label_unique")
        ]


class SourceName(WordOfModel):
    """A data source. The inference row holds its number."""

    class Meta:
        constraints = [
            models.UniqueConstraint("registered_model", "name", name="source_unique")
        ]
