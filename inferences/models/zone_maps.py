"""The tables of zone maps: the bounds of each number slot in a range of ids.

A segment is a range of ids of one model, with some thousand inferences. It holds the lowest
and the highest value of each number slot among *all* rows in the range, soft-deleted ones
too. So removing, hiding and restoring rows changes nothing. A row that is added to the
range, or a number that is written there, does: a trigger on the inferences adds a
``SegmentTouch`` in the transaction of the write, whoever writes. So for ids in a built
segment and in no touch, the bounds are certain.

Touches are added and never changed, so writers do not wait for each other. Building a
segment reads the rows and deletes the touches that its snapshot shows, in one statement.
The touch of a writer that commits later stays.
"""

from __future__ import annotations

from django.db import models


class Segment(models.Model):
    """The bounds of one range of ids, both ends included. Ranges do not overlap.

    A slot without a value in any row has null bounds.
    """

    pk = models.CompositePrimaryKey("registered_model", "highest_id")
    registered_model = models.ForeignKey(
        "inferences.RegisteredModel",
        models.CASCADE,
        "+",
        db_column="model_key",
        db_index=False,
    )
    lowest_id = models.BigIntegerField()
    highest_id = models.BigIntegerField()
    built_at = models.DateTimeField(null=True, help_text="Null: bounds are not known.")
    # Eight slots a type, as in inferences.models.SLOTS.
    for _number in range(1, 9):
        locals()[f"integer_{_number}_lowest"] = models.BigIntegerField(null=True)
        locals()[f"integer_{_number}_highest"] = models.BigIntegerField(null=True)
        locals()[f"float_{_number}_lowest"] = models.FloatField(null=True)
        locals()[f"float_{_number}_highest"] = models.FloatField(null=True)
    del _number

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(lowest_id__lte=models.F("highest_id")),
                name="segment_range_ordered",
            )
        ]

    def __str__(self) -> str:
        return f"{self.lowest_id} to {self.highest_id}"


class SegmentTouch(models.Model):
    """A write within these ids that the bounds of segments may not cover yet."""

    registered_model = models.ForeignKey(
        "inferences.RegisteredModel",
        models.CASCADE,
        "+",
        db_column="model_key",
        db_index=False,
    )
    lowest_id = models.BigIntegerField()
    highest_id = models.BigIntegerField()

    class Meta:
        indexes = [
            # Read by every query that skips segments, and by the builder.
            models.Index(
                "registered_model",
                "lowest_id",
                "highest_id",
                name="segment_touch_by_id",
            )
        ]

    def __str__(self) -> str:
        return f"{self.lowest_id} to {self.highest_id}"
