"""The tables of segments.

A segment is a range of ids of one model, of some thousand inferences, with the lowest
and highest value that each number slot holds among *all* rows there, soft-deleted ones
too. Removing, hiding and restoring rows therefore change nothing. A row that comes into
the range, or a number that is written there, does: a trigger on the inferences adds a
``SegmentTouch`` in the transaction of the write, whoever writes. So of ids that lie in a
built segment and in no touch it is certain what their slots cannot hold.

Touches are added and never changed, so writers wait for nobody. Building a segment
deletes those that its snapshot shows, in one statement with reading the rows: a writer
who commits later leaves a touch that stays.
"""

from __future__ import annotations

from django.db import models


class Segment(models.Model):
    """The bounds of one range of ids, both ends included. Ranges do not overlap.

    Without a value in any row a slot has no bounds.
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
    """That something was written among these ids which bounds may not tell."""

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
            # Read by every question that skips, and by the builder.
            models.Index(
                "registered_model",
                "lowest_id",
                "highest_id",
                name="segment_touch_by_id",
            )
        ]

    def __str__(self) -> str:
        return f"{self.lowest_id} to {self.highest_id}"
