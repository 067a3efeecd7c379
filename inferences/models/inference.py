"""Inferences: the narrow row that filters read, and the key that makes its id unique."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Self

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
    """The conditions on stored inferences. Each method returns a queryset, so they chain."""

    def live(self) -> Self:
        """Return the inferences that are not soft-deleted."""
        # Every search index is partial on this: a query without the condition cannot use one
        # and reads the rows.
        return self.filter(deleted=False)

    def live_among(self, ids: Iterable[int]) -> Self:
        """Return the live inferences with these row ids, read by the primary key.

        The condition is written as ``deleted IS NOT TRUE``, so that no partial index can
        serve it. With statistics from when the table was small, the planner would take a
        partial index and read all rows of the model.
        """
        is_live = RawSQL(
            f"{self.model._meta.db_table}.deleted IS NOT TRUE",
            [],
            output_field=models.BooleanField(),
        )
        return self.filter(is_live, id__in=ids)

    def older_than(self, limit: datetime) -> Self:
        """Return the inferences that happened before the limit."""
        return self.filter(id__lt=row_ids.first_id_at(limit))

    def unprotected(self) -> Self:
        """Return the inferences that are not protected."""
        return self.filter(is_protected=False)

    def with_input(self) -> Self:
        """Return the inferences whose input is still in the blob storage."""
        payloads = InferencePayload.objects.beside(OuterRef("registered_model"))
        kept = payloads.filter(id=OuterRef("id")).exclude(data_storage_key="")
        return self.filter(Exists(kept))

    def oldest_first(self) -> Self:
        return self.order_by("id")

    def newest_first(self) -> Self:
        return self.order_by("-id")


class Inference(models.Model):
    """One request to a model and its answer: the columns that filters read.

    The row may outlive its input. Once retention has removed the blob, the payload names no
    storage key; everything else can still be queried.
    """

    # The primary key in the database is (model_key, id): ids are unique within a model.
    # Columns are ordered widest first, so that rows need no padding.
    id = models.BigIntegerField(primary_key=True)
    latitude = models.FloatField(null=True)
    longitude = models.FloatField(null=True)
    area_cell = models.BigIntegerField(null=True, editable=False)
    data_size = models.BigIntegerField(default=0)
    # The slots, integer_1 to float_8 and string_1 to string_8, hold metadata. The table
    # MetadataKey says which slot holds which key of a model (``store.metadata_slots``).
    for _name in SLOTS["integer"]:
        locals()[_name] = models.BigIntegerField(null=True, editable=False)
    for _name in SLOTS["float"]:
        locals()[_name] = models.FloatField(null=True, editable=False)
    # Not called "model": `model_id` is the id that callers use, this is our own number.
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
    # For tasks whose answer is one class (ONE_CLASS), labels and scores hold that class
    # alone. These two hold all classes with their probabilities, in the order of the
    # answer. They are null for every other task.
    classes = ArrayField(models.IntegerField(), null=True)
    probabilities = ArrayField(RealField(), null=True)
    updated_at = models.DateTimeField(null=True, help_text="Null: as created.")

    #: The cold row, the fields of the answer and the distance, where the store has read them.
    payload: InferencePayload
    answer_fields: dict[str, Any]
    embedding_distance: Any  # a number, or None without one

    objects = InferenceQuerySet.as_manager()

    def __str__(self) -> str:
        return self.inference_id

    @property
    def created_at(self) -> datetime:
        """The time of the event in UTC, derived from the id."""
        return row_ids.moment_of(self.id)


class InferenceKey(models.Model):
    """A taken inference id, whichever partition holds the row.

    The key outlives the inference by ``ISTORE_TOMBSTONE_DAYS`` as a tombstone, which keeps
    late copies out. The proxy reserves an id before it names it in an answer. A reserved
    key has no row until the listener stores the call, and ``reservation`` says which call
    that may be. The reservation stays beside the row: it identifies the same call again
    without reading the record.
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
    # Ids are times of events; this is the order of arrival. The number is drawn while the
    # batch holds its model row FOR SHARE: see ``store.arrival_order``. 0 means that the key
    # is from before arrivals were numbered. A key that is only reserved has -2, below all
    # others, and draws its number when it is stored.
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
            # Read by whoever follows arrivals (``store.arrival_order``). It is partial,
            # although it contains every stored key: a lookup of an id does not state the
            # condition and so cannot use this index. Otherwise the planner would choose it
            # while statistics are missing or old, and read all keys of a model for each
            # id of a batch.
            models.Index(
                "registered_model",
                "arrival",
                name="key_by_arrival_order",
                condition=Q(arrival__gte=0),
            ),
            # Read by the beat task that frees reservations of lost calls.
            models.Index(
                "registered_model",
                "reserved_at",
                name="reservation_by_model_and_age",
                condition=Q(row_id__isnull=True),
            ),
            # Read by the beat task that deletes tombstones after ISTORE_TOMBSTONE_DAYS.
            models.Index(
                "registered_model",
                "removed_at",
                name="tombstone_by_model_and_age",
                condition=Q(removed_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.inference_id
