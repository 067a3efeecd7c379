"""How a list is sorted by a column: all matches by the index of a slot, or the newest of them."""

from __future__ import annotations

from inferences.ground_truth.overlap_rank import LowestOverlap
from inferences.models import RegisteredModel
from inferences.models.row_ids import moment_of
from inferences.search.filters import Filter, TruthFilter
from inferences.search.filters.tree import And
from inferences.search.window_sort import (
    INPUTS,
    METADATA,
    SHAP_VALUES,
    NamedValue,
    Ranking,
    newest_id,
)
from inferences.store.metadata_slots import slot_of
from inferences.web.view_models.columns import INPUT, META, SHAP, Column
from inferences.web.view_models.questions import Question

PARTS = {INPUT: INPUTS, SHAP: SHAP_VALUES, META: METADATA}


def is_of_window(model: RegisteredModel, column: Column) -> bool:
    """Return whether no index has the order of the column's values, so that a window is sorted."""
    return column.part != META or slot_of(model, column.key) is None


def window_value(model: RegisteredModel, question: Question) -> Ranking | None:
    """Return what a window is sorted by; None if the list has another order."""
    if question.sort == "iou":
        return LowestOverlap()
    by = question.column_sort
    if by is None or not is_of_window(model, by.column):
        return None
    return NamedValue(PARTS[by.column.part], by.column.key)


def window_filters(question: Question) -> Filter:
    """Return the filter of a window: overlaps are those of inferences with ground truth alone."""
    if question.sort == "iou":
        return And((question.filters, TruthFilter("given")))
    return question.filters


def fix_window(model: RegisteredModel, question: Question) -> Question:
    """Return the query up to its newest match, so that further pages sort the same window.

    What has ground truth seldom changes between two pages: by IoU the query stays as it is.
    """
    if question.query.get("until") or question.sort == "iou":
        return question
    newest = newest_id(model, window_filters(question))
    return question if newest is None else question.ending_at(moment_of(newest))
