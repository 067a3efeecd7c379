"""How a list is sorted by a column: all matches by the index of a slot, or the newest of them."""

from __future__ import annotations

from inferences.models import RegisteredModel
from inferences.models.row_ids import moment_of
from inferences.search.window_sort import (
    INPUTS,
    METADATA,
    SHAP_VALUES,
    NamedValue,
    newest_id,
)
from inferences.store.metadata_slots import slot_of
from inferences.web.view_models.columns import INPUT, META, SHAP, Column
from inferences.web.view_models.questions import Question

PARTS = {INPUT: INPUTS, SHAP: SHAP_VALUES, META: METADATA}


def is_of_window(model: RegisteredModel, column: Column) -> bool:
    """Return whether no index has the order of the column's values, so that a window is sorted."""
    return column.part != META or slot_of(model, column.key) is None


def window_value(model: RegisteredModel, question: Question) -> NamedValue | None:
    """Return what a window is sorted by; None if the list has another order."""
    by = question.column_sort
    if by is None or not is_of_window(model, by.column):
        return None
    return NamedValue(PARTS[by.column.part], by.column.key)


def fix_window(model: RegisteredModel, question: Question) -> Question:
    """Return the query up to its newest match, so that further pages sort the same window."""
    if question.query.get("until"):
        return question
    newest = newest_id(model, question.filters)
    return question if newest is None else question.ending_at(moment_of(newest))
