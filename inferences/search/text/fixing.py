"""Replace relative times in a text query by moments, before it is stored and read later."""

from __future__ import annotations

from datetime import datetime

from inferences.search.filters.leaf import Filter
from inferences.search.filters.moments import RelativeMoment
from inferences.search.filters.time_window import TimeWindow
from inferences.search.filters.tree import map_leaves
from inferences.search.text.reading import parse
from inferences.search.text.writing import write


def fix(query: str) -> str:
    """Return the query unchanged, unless it has a relative time such as ``since:24h``.

    Then return it with each such time written as the moment it means now. So an export that a
    worker starts a minute later selects what was asked for. Raises ``TextQueryError``.
    """
    given = parse(query)
    fixed = map_leaves(given, _fix)
    return query if repr(fixed) == repr(given) else write(fixed)


def _fix(leaf: Filter) -> Filter:
    if not isinstance(leaf, TimeWindow):
        return leaf
    return TimeWindow(_moment(leaf.start), leaf.end and _moment(leaf.end))


def _moment(moment: datetime) -> datetime:
    return moment.fixed() if isinstance(moment, RelativeMoment) else moment
