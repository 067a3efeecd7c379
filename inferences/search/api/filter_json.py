"""Filters as tasks and schedules store them: the members of a body of the API.

A stored filter was checked when it was asked for, and is read again by a worker, possibly of a
later release. The serializers of the API know the form; whoever reads stored JSON needs
neither them nor their exceptions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inferences.search.api.filter_serializers import FilteredSerializer
from inferences.search.filters import Filter, InferenceFilter
from istore.errors import Invalid


def read_filter(stored: Mapping[str, Any]) -> Filter:
    """Return the filter of ``filters``, ``filter`` and ``query``, all of which hold.

    Without any of them it is the filter that everything passes. Raises ``ValueError`` for a
    member of another name, and for a filter that this release does not know.
    """
    try:
        fields = FilteredSerializer.parse(stored)
    except Invalid as error:
        raise ValueError(str(error)) from None
    found: Filter | None = fields.get("filters")
    return found or InferenceFilter()
