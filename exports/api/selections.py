"""Selections as JSON: the filters of the API, ids to include, and ids to exclude."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exports.selections import Selection
from inferences.search import text
from inferences.search.api.filter_serializers import FilteredSerializer
from inferences.search.filters import InferenceFilter
from istore.api.fields import FlagField, OutsideIdField
from istore.api.serializers import ListField, invalid

IDS_MAX = 200_000
NAMES = (
    "filters",
    "filter",
    "query",
    "include_inference_ids",
    "exclude_inference_ids",
    "only_included",
)


def _ids() -> ListField:
    return ListField(child=OutsideIdField(), required=False, max_length=IDS_MAX)


class SelectionSerializer(FilteredSerializer):
    """Reads into a ``Selection``. With ``only_included`` no filter chooses anything."""

    include_inference_ids = _ids()
    exclude_inference_ids = _ids()
    only_included = FlagField(required=False, default=False)

    def to_internal_value(self, data: Any) -> Any:
        fields = super().to_internal_value(data)
        return selection_of(fields)


class NewSelectionSerializer(SelectionSerializer):
    """A selection as a caller sends it; one that is kept already is read leniently."""

    is_change = True


def selection_of(fields: dict[str, Any]) -> Selection:
    """Take the members of a selection out of validated data, and return the ``Selection``."""
    filters = fields.pop("filters", None) or InferenceFilter()
    only_included = fields.pop("only_included")
    if only_included and filters != InferenceFilter():
        raise invalid("Not together with a filter.", "only_included")
    return Selection(
        None if only_included else filters,
        tuple(fields.pop("include_inference_ids", None) or ()),
        tuple(fields.pop("exclude_inference_ids", None) or ()),
    )


def asked_of(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the selection of a valid body as it was sent, for a task to store.

    Only relative times, such as ``since:24h`` of a query, become absolute: the task reads the
    selection again later.
    """
    asked = {name: data[name] for name in NAMES if data.get(name) is not None}
    if "query" in asked:
        asked["query"] = text.fix(asked["query"])
    return asked
