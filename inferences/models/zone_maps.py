"""The tables of zone maps: bounds and summaries of the rows in a range of ids.

A segment is a range of ids of one model, with some thousand inferences. It holds the lowest
and the highest value of each number slot among *all* rows in the range, soft-deleted ones
too, and a summary of the live ones: how many they are, how often each value of a column
comes, and in which of them. A write that changes either adds a ``SegmentTouch`` in its transaction
(``store.segment_touches``). So for ids in a built segment and in no touch, bounds and summary
are certain. A touch with ``keeps_bounds``, of hiding and restoring rows, leaves the bounds so.

Touches are added and never changed, so writers do not wait for each other. Building a
segment reads the rows and deletes the touches that its snapshot shows, in one statement.
The touch of a writer that commits later stays.
"""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models

from inferences.models.fields import SLOTS, BitsField

VALUES_MOST = 100  # values of a column that a segment counts
BITS_MOST = 50  # values of a column for which it has bitmaps, of a bit each row
SCORE_PARTS = 200  # of the scores from 0 to 1
# The columns of an inference whose values are counted: labels by the rows that have them,
# scores by the number of the part that each is in.
COUNTED = (
    "labels",
    "scores",
    "source_id",
    "inference_action",
    *SLOTS["string"],
    *SLOTS["integer"],
    *SLOTS["float"],
)

# Those of which bitmaps say which rows have a value. A row may have one score several times.
BITS_OF = tuple(column for column in COUNTED if column != "scores")


class Segment(models.Model):
    """The bounds and the summary of one range of ids, both ends included.

    Ranges do not overlap. A slot without a value in any row has null bounds.
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
    # The summary of the live rows. Each column of counts is {value: rows}, with values as
    # text, or null when there are more than VALUES_MOST.
    live = models.IntegerField(null=True, help_text="Null: nothing is summarised yet.")
    filled = models.JSONField(null=True, help_text="Rows with a value, by number slot.")
    for _column in COUNTED:
        locals()[f"{_column}_counts"] = models.JSONField(null=True)
    for _column in BITS_OF:
        # One bitmap for each key of the counts, in PostgreSQL's order of keys, with one bit
        # for each live row in the order of ids. Null when there are more than BITS_MOST.
        locals()[f"{_column}_bits"] = ArrayField(BitsField(), null=True)
    del _column
    # The rows whose top score is at least that of each part, and whose low score is below.
    top_scores = ArrayField(models.IntegerField(), null=True)
    low_scores = ArrayField(models.IntegerField(), null=True)

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
    """A write within these ids that segments may not cover yet."""

    # The primary key in the database is (model_key, lowest_id, highest_id, id). Every query that
    # skips segments reads it, and so does the builder.
    registered_model = models.ForeignKey(
        "inferences.RegisteredModel",
        models.CASCADE,
        "+",
        db_column="model_key",
        db_index=False,
    )
    lowest_id = models.BigIntegerField()
    highest_id = models.BigIntegerField()
    keeps_bounds = models.BooleanField(
        default=False, db_default=False, help_text="Only the summary may be wrong."
    )

    def __str__(self) -> str:
        return f"{self.lowest_id} to {self.highest_id}"
