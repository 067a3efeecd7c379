"""Selections: all matching inferences, plus the included ids, minus the excluded ids.

A selection is a value. What it chooses is read from one snapshot when the work starts.

As JSON it has the members of the API's body: ``filters``, ``filter`` and ``query``, which all
hold, ``include_inference_ids``, ``exclude_inference_ids`` and ``only_included``. Tasks store
what a caller sent, or ``Selection.to_json`` of what a page chose.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

from django.core.exceptions import EmptyResultSet
from django.db import connection, transaction

from inferences.models import (
    Inference,
    InferenceQuerySet,
    RegisteredModel,
)
from inferences.search import text
from inferences.search.api.filter_json import read_filter
from inferences.search.counting import count_matching
from inferences.search.filters import Filter, InferenceFilter, matching
from inferences.search.rare_label_scan import all_matching
from inferences.store import lookup

IDS_MAX = 200_000  # that a caller may name in one selection
FILTERS = ("filters", "filter", "query")


@dataclass(frozen=True, slots=True)
class Selection:
    """Inferences that match or are included, and are not excluded.

    Without a filter only the included ids are chosen.
    """

    filters: Filter | None = field(default_factory=InferenceFilter)
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        filters: Filter,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        *,
        only_included: bool = False,
    ) -> Self:
        """Return the selection. Raises ``ValueError`` for a filter beside ``only_included``."""
        if only_included and filters != InferenceFilter():
            raise ValueError("Not together with a filter.")
        chosen = None if only_included else filters
        return cls(chosen, tuple(include), tuple(exclude))

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Return the selection that a task stored. Raises ``ValueError``.

        Other members, such as those that a worker added, are no part of it.
        """
        return cls.of(
            read_filter({name: stored[name] for name in FILTERS if name in stored}),
            stored.get("include_inference_ids") or (),
            stored.get("exclude_inference_ids") or (),
            only_included=bool(stored.get("only_included")),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the selection as a task stores it, its filter as a text query.

        Relative times such as ``since:24h`` become the moments that they mean now. Raises
        ``ValueError`` for a filter that is too long.
        """
        written: dict[str, Any] = {}
        if self.filters is None:
            written["only_included"] = True
        elif self.filters != InferenceFilter():
            written["query"] = _write(self.filters)
        if self.include:
            written["include_inference_ids"] = list(self.include)
        if self.exclude:
            written["exclude_inference_ids"] = list(self.exclude)
        return written

    def count(self, model: RegisteredModel, most: int) -> int:
        """Return how many are chosen now; ``most + 1`` means any larger number."""
        excluded = row_ids_of(model, self.exclude)
        included = row_ids_of(model, self.include) - excluded
        beside = model.inferences.live().filter(id__in=included)
        if self.filters is None:
            return beside.count()
        found = matching(model, self.filters)
        number = count_matching(model, self.filters, most + 1 + len(excluded)).number
        both = found.filter(id__in=included).count() if included else 0
        number += beside.count() - both if included else 0
        number -= found.filter(id__in=excluded).count() if excluded else 0
        return min(number, most + 1)

    def statement(self, model: RegisteredModel) -> tuple[str, list[Any]]:
        """Return SQL and its values, for ``id`` and ``inference_id`` of the chosen live rows."""
        named = model.inferences.live().filter(id__in=row_ids_of(model, self.include))
        parts = [_compile(named)] if self.include else []
        if self.filters is not None:
            parts.append(_compile(all_matching(model, self.filters)))
        possible = [part for part in parts if part is not None] or [NOTHING]
        chosen = " UNION ".join(f"({sql})" for sql, _ in possible)
        values = [value for _, given in possible for value in given]
        excluded = sorted(row_ids_of(model, self.exclude))
        sql = (
            f"SELECT id, inference_id FROM ({chosen}) AS chosen WHERE id NOT IN"
            " (SELECT unnest(%s::bigint[]))"
        )
        return sql, [*values, excluded]

    def unknown(self, model: RegisteredModel) -> list[str]:
        """Return included ids that no live inference has."""
        found: set[str] = set()
        for row_ids in _sliced(sorted(row_ids_of(model, self.include))):
            live = model.inferences.live().filter(id__in=row_ids)
            found.update(live.values_list("inference_id", flat=True))
        return [name for name in dict.fromkeys(self.include) if name not in found]


def _write(filters: Filter) -> str:
    written = text.write(filters)
    if len(written) <= text.QUERY_MAX_CHARS:
        written = text.fix(written)
    if len(written) > text.QUERY_MAX_CHARS:
        raise ValueError("The filter is too long to be stored with a task.")
    return written


NOTHING: tuple[str, tuple[Any, ...]] = (
    f"SELECT id, inference_id FROM {Inference._meta.db_table} WHERE false",
    (),
)
AT_ONCE = 10_000


def _compile(found: InferenceQuerySet) -> tuple[str, tuple[Any, ...]] | None:
    """Return the query as SQL with its values, or None if it cannot match anything."""
    try:
        rows = found.order_by().values_list("id", "inference_id")
        return rows.query.sql_with_params()
    except EmptyResultSet:
        return None


def row_ids_of(model: RegisteredModel, inference_ids: tuple[str, ...]) -> set[int]:
    """Return the row ids of these inference ids; an unknown id has none."""
    return set(lookup.row_ids_of(model, inference_ids).values())


def _sliced(values: list[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(values), AT_ONCE):
        yield values[start : start + AT_ONCE]


@contextmanager
def snapshot() -> Iterator[None]:
    """Run the block in a transaction whose statements all see the same rows."""
    outermost = not connection.in_atomic_block
    with transaction.atomic():
        if outermost:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        yield
