"""Sort by a value that no index orders, within a window: the newest matches up to a number.

Named inputs and SHAP values lie in the text of an answer, and values of a metadata key without a
slot in the payload. To sort all matches by them would read all payloads. So the newest ``WINDOW``
matches are read by their keys, in one statement, and sorted here. The rows read are bounded
however many match, and pages say so. A window moves while new inferences come; who reads further
pages fixes its end by a filter on time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import orjson
from django.db import connection

from inferences.models import Inference, InferencePayload, RegisteredModel
from inferences.search import cursors, planner
from inferences.search.cursors import PagePosition, Position, Rank
from inferences.search.filters import Filter
from inferences.search.orders import BY_TIME
from inferences.search.pagination import Page, Pagination
from inferences.search.planner import PageSlice
from inferences.store import reading

WINDOW = 5_000
# A longer answer is not taken apart for a sort: its row comes last, with those without a value.
ANSWER_BYTES = 64 * 1024
INPUTS, SHAP_VALUES, METADATA = "inputs", "shap_values", "metadata"


@dataclass(frozen=True, slots=True)
class NamedValue:
    """What is sorted by: a name in the inputs, the SHAP values or the metadata of a record."""

    part: str
    name: str
    window: ClassVar[int] = WINDOW

    def ranks(self, model: RegisteredModel, ids: Sequence[int]) -> dict[int, Rank]:
        """Return the value of each row that has one, a number as a float."""
        return _read(model, ids, self)


class Ranking(Protocol):
    """What a window is sorted by: how many rows are ranked, and the rank of each that has one."""

    @property
    def window(self) -> int: ...

    def ranks(self, model: RegisteredModel, ids: Sequence[int]) -> dict[int, Rank]: ...


@dataclass(frozen=True, slots=True)
class WindowPage:
    """A page of a window: of how many inferences, and whether these are all that match."""

    page: Page[Inference]
    size: int
    is_whole: bool


# pg_input_is_valid is asked first, as an answer may be any text, and a CASE is evaluated in order.
# OFFSET 0 is a fence: else the text would be parsed again for each use of the value. As json, not
# jsonb, it is parsed without building numbers: half of the time.
_ANSWERS = f"""
SELECT id, value::text FROM (
    SELECT id, CASE WHEN octet_length(data) <= {ANSWER_BYTES} AND data LIKE '{{%%'
                    THEN CASE WHEN pg_input_is_valid(data, 'json')
                              THEN data::json -> %(part)s -> %(name)s END END AS value
    FROM {InferencePayload._meta.db_table}
    WHERE model_key = %(model)s AND id = ANY(%(ids)s::bigint[])
    OFFSET 0
) AS found WHERE value IS NOT NULL
"""
_METADATA = f"""
SELECT id, CASE WHEN metadata -> %(name)s ->> 0 IN ('int', 'float')
           THEN metadata -> %(name)s ->> 1
           ELSE (metadata -> %(name)s -> 1)::text END
FROM {InferencePayload._meta.db_table}
WHERE model_key = %(model)s AND id = ANY(%(ids)s::bigint[]) AND metadata ? %(name)s
"""


def newest_id(model: RegisteredModel, filters: Filter) -> int | None:
    """Return the row id of the newest match: the end of its window."""
    part = PageSlice(newest_first=True, limit=1)
    found = planner.places(model, filters, BY_TIME, part)
    return found[0].row_id if found else None


def page_of_window(
    model: RegisteredModel,
    filters: Filter,
    by: Ranking,
    pagination: Pagination,
    most: int | None = None,
) -> WindowPage:
    """Return a page of the newest ``most`` matches (those of the ranking's window), sorted.

    Numbers come before texts in both directions, and rows without the value last, newest first.
    Raises ``BadCursor`` for a cursor of another query.
    """
    question = (model.pk, filters, by, pagination.direction)
    after = (
        cursors.read(pagination.cursor, question).place if pagination.cursor else None
    )
    positions, is_whole = positions_in_window(
        model, filters, by, is_descending=pagination.direction == "desc", most=most
    )
    begin = _place_after(positions, after)
    here = positions[begin : begin + pagination.limit]
    following = None
    if begin + pagination.limit < len(positions):
        passed = begin + len(here)
        following = cursors.write(Position(here[-1], passed), question)
    rows = reading.fetch(model, [each.row_id for each in here])
    return WindowPage(Page(rows, following), len(positions), is_whole)


def positions_in_window(
    model: RegisteredModel,
    filters: Filter,
    by: Ranking,
    *,
    is_descending: bool,
    most: int | None = None,
) -> tuple[list[PagePosition], bool]:
    """Return the sorted positions of the newest matches, and whether these are all."""
    most = most or by.window
    part = PageSlice(newest_first=True, limit=most + 1)
    found = planner.places(model, filters, BY_TIME, part)
    ids = [place.row_id for place in found[:most]]
    ranks = by.ranks(model, ids)
    positions = [PagePosition(ranks.get(row_id), row_id) for row_id in ids]
    numbers = [each for each in positions if isinstance(each.rank, float)]
    texts = [each for each in positions if isinstance(each.rank, str)]
    for kind in (numbers, texts):
        kind.sort(key=lambda each: (each.rank, each.row_id), reverse=is_descending)
    rest = [each for each in positions if each.rank is None]
    return [*numbers, *texts, *rest], len(found) <= most


def _place_after(positions: Sequence[PagePosition], after: PagePosition | None) -> int:
    """Return where a page begins: behind the position, or behind its place if its row is gone."""
    if after is None:
        return 0
    if after in positions:
        return positions.index(after) + 1
    # A removal between two pages: the rows before it are those that the page before has shown.
    before = {type(each.rank) for each in positions}
    if type(after.rank) not in before:
        return len(positions)
    alike = [n for n, e in enumerate(positions) if type(e.rank) is type(after.rank)]
    if after.rank is None:
        passed = [n for n in alike if positions[n].row_id > after.row_id]
    else:
        is_descending = _rank_of(positions[alike[0]]) > _rank_of(positions[alike[-1]])
        passed = [
            n
            for n in alike
            if (_rank_of(positions[n]) < _rank_of(after)) is not is_descending
        ]
    return passed[-1] + 1 if passed else alike[0]


def _rank_of(position: PagePosition) -> tuple[float | str, int]:
    assert position.rank is not None
    return position.rank, position.row_id  # ranks of one type are compared


def _read(
    model: RegisteredModel, ids: Sequence[int], by: NamedValue
) -> dict[int, Rank]:
    """Return the value of each row that has one, a number as a float."""
    if not ids:
        return {}
    sql = _METADATA if by.part == METADATA else _ANSWERS
    named: dict[str, Any] = {"model": model.pk, "ids": list(ids)}
    named |= {"part": by.part, "name": by.name}
    with connection.cursor() as cursor:
        cursor.execute(sql, named)
        rows = cursor.fetchall()
    return {row_id: _rank(value) for row_id, value in rows}


def _rank(written: str) -> Rank:
    """Return what is sorted by of a value that is written as JSON."""
    try:
        value = orjson.loads(written)
    except orjson.JSONDecodeError:
        try:
            return float(
                written
            )  # metadata may be written as .5, which JSON does not know
        except ValueError:
            return None
    if type(value) in (int, float):
        return float(value)
    return value if isinstance(value, str) else None if value is None else written
