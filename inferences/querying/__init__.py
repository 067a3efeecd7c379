"""Pages and counts of what a filter matches, whatever the data: quickly, or not at all.

``InferenceQuery`` is what a caller asks. ``conditions`` takes apart what ``matching`` put
together, ``bounded`` finds the rows of a page (procedure P of the storage schema),
``orders`` says by what they are sorted, ``cursors`` where a page ended. Whoever reads all
that matches begins with ``all_matching``.
"""

from inferences.querying.counting import Count, CountQuery, count_matching
from inferences.querying.leading import all_matching
from inferences.querying.pagination import (
    BadCursor,
    BadQuestion,
    Page,
    Pagination,
    TooDeep,
)
from inferences.querying.query import InferenceQuery
from inferences.querying.reading import find_inference, join_payloads

__all__ = [
    "BadCursor",
    "BadQuestion",
    "Count",
    "CountQuery",
    "InferenceQuery",
    "Page",
    "Pagination",
    "TooDeep",
    "all_matching",
    "count_matching",
    "find_inference",
    "join_payloads",
]
