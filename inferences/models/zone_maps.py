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

A ``SegmentGroup`` adds up the summaries of consecutive segments, so that a count of millions of
rows reads some dozen rows. The statement that builds one of its segments anew deletes it, and the
builder makes it again. So for a group in no touch the sum is certain as well.
"""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models

from inferences.models.fields import SLOTS, BitsField

VALUES_MOST = 100  # values of a column that a segment counts
BITS_MOST = 50  # values of a column for which it has bitmaps, of a bit each row
SCORE_PARTS = 200  # of the scores from 0 to 1
GROUP_VALUES_MOST = 1_000  # values of a column that a group counts; groups are few
MARKED = 64  # a segment marks the id of every so-manieth live row
# Buckets of equal depth of a number slot with too many values to be counted.
BUCKETS, GROUP_BUCKETS = 64, 256
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


class Summary(models.Model):
    """The bounds and the summary of the rows in one range of ids, both ends included.

    A slot without a value in any row has null bounds.
    """

    registered_model = models.ForeignKey(
        "inferences.RegisteredModel",
        models.CASCADE,
        "+",
        db_column="model_key",
        db_index=False,
    )
    lowest_id = models.BigIntegerField()
    highest_id = models.BigIntegerField()
    # Eight slots a type, as in inferences.models.SLOTS. The buckets of a slot are ascending
    # values of the live rows, its edges, and the rank of each: how many live rows have a value
    # up to and including it. The first edge is the lowest value and the last one the highest.
    # Null when the values are counted with bitmaps, or there are none.
    for _number in range(1, 9):
        for _kind, _field in (
            ("integer", models.BigIntegerField),
            ("float", models.FloatField),
        ):
            _slot = f"{_kind}_{_number}"
            locals()[f"{_slot}_lowest"] = _field(null=True)
            locals()[f"{_slot}_highest"] = _field(null=True)
            locals()[f"{_slot}_edges"] = ArrayField(_field(), null=True)
            locals()[f"{_slot}_ranks"] = ArrayField(models.IntegerField(), null=True)
    del _number, _kind, _field, _slot
    # The summary of the live rows. Each column of counts is {value: rows}, with values as
    # text, or null when there are too many values.
    live = models.IntegerField(null=True, help_text="Null: nothing is summarised yet.")
    filled = models.JSONField(null=True, help_text="Rows with a value, by number slot.")
    for _column in COUNTED:
        locals()[f"{_column}_counts"] = models.JSONField(null=True)
    del _column
    # The rows whose top score is at least that of each part, and whose low score is below.
    top_scores = ArrayField(models.IntegerField(), null=True)
    low_scores = ArrayField(models.IntegerField(), null=True)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.lowest_id} to {self.highest_id}"


class Segment(Summary):
    """The bounds and the summary of some thousand inferences. Ranges do not overlap."""

    pk = models.CompositePrimaryKey("registered_model", "highest_id")
    built_at = models.DateTimeField(null=True, help_text="Null: bounds are not known.")
    for _column in BITS_OF:
        # One bitmap for each key of the counts, in PostgreSQL's order of keys, with one bit
        # for each live row in the order of ids. Null when there are more than BITS_MOST.
        locals()[f"{_column}_bits"] = ArrayField(BitsField(), null=True)
    del _column
    # The id of the first live row, and of every MARKED-th after it.
    marks = ArrayField(models.BigIntegerField(), null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(lowest_id__lte=models.F("highest_id")),
                name="segment_range_ordered",
            )
        ]


class SegmentGroup(Summary):
    """The sums of consecutive segments, all of which were built and untouched.

    They hold while there are as many segments, and none was built later: who builds or removes one
    deletes the group, but processes of an older release do not know of it.
    """

    pk = models.CompositePrimaryKey("registered_model", "highest_id")
    segment_count = models.IntegerField()
    built_at = models.DateTimeField(help_text="When the newest of them was built.")


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
