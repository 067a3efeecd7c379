"""Keys of metadata, their changes and counts, and the words of a model."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from inferences.models.choices import MetadataKind, MetadataType
from inferences.models.registered_model import RegisteredModel


class MetadataKey(models.Model):
    """Where a model keeps the values of one key: in a slot, or in side rows."""

    id = models.AutoField(primary_key=True)
    registered_model = models.ForeignKey(
        RegisteredModel, models.CASCADE, "metadata_keys", db_column="model_key"
    )
    # A path into a JSON value may be longer than a key.
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
    """How many observations of a key and type came or went: one delta a batch.

    Appended by every write, summed by readers, compacted by the maintenance beat: no
    row is hot.
    """

    registered_model = models.ForeignKey(
        RegisteredModel, models.CASCADE, "+", db_column="model_key"
    )
    key = models.CharField(max_length=256)
    type = models.CharField(max_length=6, choices=MetadataType)
    delta = models.BigIntegerField()

    def __str__(self) -> str:
        return f"{self.key} ({self.type}): {self.delta:+}"


class MetadataChange(models.Model):
    """That one metadata value of an inference came, went or became another.

    What an inference was stored with is not a change. Rows go with their inference.
    """

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
    """A word of one model that rows hold as a number."""

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
    """A label; detections and the arrays of the inference row hold its number."""

    class Meta:
        constraints = [
            models.UniqueConstraint("registered_model", "name", name="label_unique")
        ]


class SourceName(WordOfModel):
    """A data source."""

    class Meta:
        constraints = [
            models.UniqueConstraint("registered_model", "name", name="source_unique")
        ]
