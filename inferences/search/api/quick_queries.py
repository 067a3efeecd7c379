"""Bodies of pages and counts in the form that most have, read without the serializers' overhead.

What is read here is read as ``InferenceQuerySerializer`` reads it. At the first thing out of the
ordinary the answer is None, and the serializer reads the body or says what is wrong.
"""

from __future__ import annotations

from typing import Any, TypeVar

from django.conf import settings

from inferences.search.filters import InferenceFilter, MetadataFilter
from inferences.search.filters.metadata import LOOKUPS, STATED_TYPES
from inferences.search.pagination import CURSOR_MAX_CHARS, SORTS, Pagination
from inferences.search.query import InferenceQuery
from istore.api.ordinary_bodies import Unusual, one_of, read_flag, require

KEY_CHARS = 1024
NUMBER_MOST = 2**31  # of an offset, and of the limit of a count
COMPARISON = {"key", "type", "operator", "value"}
DIRECTIONS = ("asc", "desc")
Q = TypeVar("Q", bound=InferenceQuery)


def read_quickly(kind: type[Q], body: Any) -> Q | None:
    """Return the query that a body says; None when it is not of the ordinary form."""
    try:
        if type(body) is not dict:
            return None
        return kind(**{name: READERS[name](each) for name, each in body.items()})
    except (Unusual, LookupError, TypeError, ValueError):
        return None


def _filters(value: Any) -> InferenceFilter:
    require(type(value) is dict and value.keys() <= {"metadata_filter"})
    if not value:
        return InferenceFilter()
    comparisons = value["metadata_filter"]
    require(
        type(comparisons) is list
        and 0 < len(comparisons) <= settings.ISTORE_FILTER_MAX_CONDITIONS
    )
    return InferenceFilter(metadata=[_comparison(each) for each in comparisons])


def _comparison(value: Any) -> MetadataFilter:
    require(type(value) is dict and value.keys() == COMPARISON)
    key, text = value["key"], value["value"]
    require(type(key) is str and 0 < len(key) <= KEY_CHARS and type(text) is str)
    require(value["type"] in STATED_TYPES and value["operator"] in LOOKUPS)
    return MetadataFilter(**value)


def _pagination(value: Any) -> Pagination:
    require(type(value) is dict)
    return Pagination(**{name: PAGING[name](each) for name, each in value.items()})


def _whole(value: Any) -> int:
    require(type(value) is int and 0 <= value <= NUMBER_MOST)
    return int(value)


def _limit(value: Any) -> int:
    require(value != 0)
    return _whole(value)


def _cursor(value: Any) -> str:
    require(type(value) is str and len(value) <= CURSOR_MAX_CHARS)
    return str(value)


PAGING: dict[str, Any] = {
    "direction": one_of(DIRECTIONS),
    "limit": _limit,
    "offset": _whole,
    "sort": one_of(SORTS),
    "cursor": _cursor,
}
READERS: dict[str, Any] = {
    "filters": _filters,
    "pagination": _pagination,
    "presign": read_flag,
    "limit": _limit,  # of a count; a page has no such field
}
