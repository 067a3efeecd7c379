"""All that match a filter except some inferences, which a person or a caller names by their ids."""

from __future__ import annotations

from collections.abc import Sequence

from inferences.models import InferenceQuerySet, RegisteredModel
from inferences.search.filters import Filter
from inferences.search.rare_label_scan import all_matching
from inferences.store.lookup import row_ids_of


def all_matching_but(
    model: RegisteredModel, filters: Filter, excluded: Sequence[str]
) -> InferenceQuerySet:
    """Return all that match except those with one of the excluded ids; unknown ids exclude nothing."""
    found = all_matching(model, filters)
    if not excluded:
        return found
    return found.exclude(id__in=sorted(row_ids_of(model, excluded).values()))
