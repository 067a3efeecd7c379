"""Selections in bodies of the API: filters, ids to include, and ids to exclude."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exports.selections import FILTERS, IDS_MAX, Selection
from inferences.search import text
from inferences.search.api.filter_serializers import FilteredSerializer
from inferences.search.filters import InferenceFilter
from istore.api.fields import FlagField, OutsideIdField
from istore.api.serializers import ListField, invalid

NAMES = (*FILTERS, "include_inference_ids", "exclude_inference_ids", "only_included")


def _ids() -> ListField:
    return ListField(child=OutsideIdField(), required=False, max_length=IDS_MAX)


class SelectionSerializer(FilteredSerializer):
    """Reads into a ``Selection``. With ``only_included`` no filter chooses anything."""

    is_change = True

    include_inference_ids = _ids()
    exclude_inference_ids = _ids()
    only_included = FlagField(required=False, default=False)

    def to_internal_value(self, data: Any) -> Any:
        return selection_of(super().to_internal_value(data))


def selection_of(fields: dict[str, Any]) -> Selection:
    """Take the members of a selection out of validated data, and return the ``Selection``."""
    try:
        return Selection.of(
            fields.pop("filters", None) or InferenceFilter(),
            fields.pop("include_inference_ids", None) or (),
            fields.pop("exclude_inference_ids", None) or (),
            only_included=fields.pop("only_included"),
        )
    except ValueError as error:
        raise invalid(str(error), "only_included") from None


def asked_of(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the selection of a valid body as it was sent, for a task to store.

    Only relative times, such as ``since:24h`` of a query, become absolute: the task reads the
    selection again later (``Selection.from_json``).
    """
    asked = {name: data[name] for name in NAMES if data.get(name) is not None}
    if "query" in asked:
        asked["query"] = text.fix(asked["query"])
    return asked
