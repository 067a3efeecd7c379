"""The kinds of filters, in the order in which URLs name them and completion offers them."""

from __future__ import annotations

from inferences.search.filters import (
    classes,
    detections,
    existence,
    full_text,
    ground_truth,
    in_dataset,
    in_session,
    in_trace,
    intersection,
    location,
    map_area,
    metadata,
    status,
    time_window,
)
from inferences.search.filters.kind import Kind, Parameter, Term
from inferences.search.filters.leaf import Filter
from inferences.search.filters.tree import Not

KINDS: tuple[Kind, ...] = (
    time_window.KIND,
    intersection.KIND,
    detections.KIND,
    classes.KIND,
    full_text.KIND,
    location.KIND,
    map_area.KIND,
    ground_truth.KIND,
    in_dataset.KIND,
    in_trace.KIND,
    in_session.KIND,
    existence.KIND,
    status.KIND,
    metadata.KIND,
)
_GIVEN, _MISSING = ground_truth.CHOICES["given"], ground_truth.CHOICES["missing"]


def complement_of(filters: Filter) -> Filter | None:
    """Return the filter that all other inferences pass, if a NOT of it is what is given."""
    if filters == _MISSING:
        return _GIVEN
    return filters.part if isinstance(filters, Not) else None


TERMS: dict[str, Term] = {term.begins: term for kind in KINDS for term in kind.terms}
# Whole terms, such as ``has:input``, and the filters that they mean.
WORDS: dict[str, Filter] = {
    text: each for kind in KINDS for text, each in kind.words.items()
}
PARAMETERS: dict[str, Parameter] = {
    parameter.name: parameter for kind in KINDS for parameter in kind.parameters
}
