"""Inferences: the narrow row of what is filtered on, and its unique key."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Self

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.db.models.expressions import RawSQL

from inferences.models import row_ids
from inferences.models.choices import InferenceAction
from inferences.models.fields import SLOTS, RealField
from inferences.models.metadata import SourceName
from inferences.models.registered_model import RegisteredModel
from inferences.models.side_rows import InferencePayload


class InferenceQuerySet(models.QuerySet["Inference"]):
    """The questions asked of stored inferences. Each one chains."""

    def live(self) -> Self:
        # Every search index is partial on this: a query that leaves it out reads rows.
        return self.filter(deleted=False)

    def live_among(self, ids: Iterable[int]) -> Self:
        """The live ones of these row ids, by the primary key.

        Said so that no partial index can serve it: with statistics from when the table
        was small the planner takes one of them, and reads all of the model.
        """
        is_live = RawSQL(
            f"{self.model._meta.db_table}.deleted IS NOT TRUE",
            [],
            output_field=models.BooleanField(),
        )
        return self.filter(is_live, id__in=ids)

    def older_than(self, limit: datetime) -> Self:
        return self.filter(id__lt=row_ids.first_id_at(limit))

    def unprotected(self) -> Self:
        return self.filter(is_protected=False)

    def with_input(self) -> Self:
        """Inferences whose input still lies in blob storage."""
        payloads = InferencePayload.objects.beside(OuterRef("registered_model"))
        kept = payloads.filter(id=OuterRef("id")).exclude(data_storage_key="")
        return self.filter(Exists(kept))

    def oldest_first(self) -> Self:
        return self.order_by("id")

    def newest_first(self) -> Self:
        return self.order_by("-id")


class Inference(models.Model):
    """One request to a model and the answer it gave: all that is filtered on.

    The row may outlive its input: once retention has removed the blob, the payload
    names no storage key and everything else can still be queried.
    """

    # The database's key is (model_key, id): ids are unique within a model. Columns are
    # in this order, widest first, so that rows need no padding.
    id = models.BigIntegerField(primary_key=True)
    latitude = models.FloatField(null=True)
    longitude = models.FloatField(null=True)
    area_cell = models.BigIntegerField(null=True, editable=False)
    data_size = models.BigIntegerField(default=0)
    # The slots, integer_1 to float_8 and string_1 to string_8, hold metadata. Which key
    # of which model lies in which of them is the directory's to say.
    for _name in SLOTS["integer"]:
        locals()[_name] = models.BigIntegerField(null=True, editable=False)
    for _name in SLOTS["float"]:
        locals()[_name] = models.FloatField(null=True, editable=False)
    # Not called "model": `model_id` is the outside world's word, this is our number.
    registered_model = models.ForeignKey(
        RegisteredModel,
        models.DO_NOTHING,
        related_name="inferences",
        db_column="model_key",
        db_constraint=False,
        db_index=False,
    )
    source = models.ForeignKey(
        SourceName, models.DO_NOTHING, null=True, db_constraint=False, db_index=False
    )
    top_score = RealField(null=True, editable=False)
    low_score = RealField(null=True, editable=False)
    inference_action = models.SmallIntegerField(choices=InferenceAction)
    version = models.SmallIntegerField(default=1, help_text="Of the record's form.")
    is_protected = models.BooleanField(default=False)
    deleted = models.BooleanField(default=False)
    inference_id = models.CharField(max_length=255)
    data_hash = models.BinaryField(max_length=32, help_text="SHA-256 of the input.")
    for _name in SLOTS["string"]:
        locals()[_name] = models.TextField(null=True, editable=False)
    del _name
    labels = ArrayField(models.IntegerField(), null=True)
    scores = ArrayField(RealField(), null=True)
    # Where one class is the answer, labels and scores hold it alone, and these all classes
    # with their probabilities, in the order of the answer. Null for every other task.
    classes = ArrayField(models.IntegerField(), null=True)
    probabilities = ArrayField(RealField(), null=True)
    updated_at = models.DateTimeField(null=True, help_text="Null: as created.")

    objects = InferenceQuerySet.as_manager()

    def __str__(self) -> str:
        return self.inference_id

    @property
    def created_at(self) -> datetime:
        return row_ids.moment_of(self.id)


class InferenceKey(models.Model):
    """That an inference id is taken, whichever partition holds the row.

    It outlives the inference by ``ISTORE_TOMBSTONE_DAYS`` and so keeps late copies out. The
    proxy reserves an id before it names it in an answer: such a key has no row until the
    listener stores the call, and ``reservation`` says which call that may be. It is kept
    with the row, and tells the same call again without reading what was stored.
    """

    pk = models.CompositePrimaryKey("registered_model", "inference_id")
    registered_model = models.ForeignKey(
        RegisteredModel, models.CASCADE, "+", db_column="model_key", db_index=False
    )
    inference_id = models.CharField(max_length=255)
    row_id = models.BigIntegerField(
        null=True, help_text="Null: reserved, and not stored yet."
    )
    removed_at = models.DateTimeField(null=True)
    reservation = models.BinaryField(
        max_length=32,
        null=True,
        help_text="SHA-256 of the proxied call that the id is for.",
    )
    reserved_at = models.DateTimeField(null=True)
    # Ids are times of events; this is the order of arrival, drawn while the batch holds
    # its model row: see store/arrival_order.py. 0: it came before arrivals were numbered. A key that
    # is only reserved has -2, before everything, and draws its number when it is stored.
    arrival = models.BigIntegerField(
        db_default=models.Func(models.Value("inferences_arrival"), function="nextval"),
        editable=False,
    )

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(row_id__isnull=False)
                | Q(reservation__isnull=False, reserved_at__isnull=False),
                name="key_has_row_or_is_reserved",
            )
        ]
        indexes = [
            # Read by who follows what arrives. Partial, though every stored key is in it:
            # a look for an id does not state the condition, and so cannot take this
            # index. While statistics are missing or old the planner would, and read all
            # keys of a model for each id of a batch.
            models.Index(
                "registered_model",
                "arrival",
                name="key_by_arrival_order",
                condition=Q(arrival__gte=0),
            ),
            # Read by the beat that frees reservations whose calls were lost.
            models.Index(
                "reserved_at",
                name="reservation_by_age",
                condition=Q(row_id__isnull=True),
            ),
            # Read by the beat that frees tombstones after their time.
            models.Index(
                "removed_at",
                name="tombstone_by_age",
                condition=Q(removed_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.inference_id
