"""Search the nearest inferences, exactly or by an index; a page says which.

Few candidates are measured one by one. For many, a model's index gives the nearest 400 by
cosine distance (600 for the other metrics), which are measured and sorted exactly. So one
index serves all three metrics, as long as the norms of the vectors are alike. With a filter
as many candidates are wanted that match: the index search goes on until it has them. If too
few of the first candidates match for that to end soon, all vectors are measured.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from django.db import connection

from inferences.models import (
    Embedding,
    RecentEmbedding,
    RegisteredModel,
)
from inferences.search import planner
from inferences.search.access_paths import TABLE, Sql
from inferences.search.conditions import Conditions, conditions_of
from inferences.search.cursors import PagePosition
from inferences.search.filters import Filter, InferenceFilter
from inferences.search.orders import Order
from inferences.search.planner import PageSlice
from inferences.search.vectors.embedding_filter import EmbeddingFilter
from inferences.search.vectors.indexing import index_expression, is_indexed

INDEXED, RECENT = Embedding._meta.db_table, RecentEmbedding._meta.db_table
OPERATORS = {"cosine": "<=>", "l2": "<->", "negative_dot_product": "<#>"}
CANDIDATES = {"cosine": 400, "l2": 600, "negative_dot_product": 600}
FEW = 20_000  # matching rows whose vectors are measured one by one
DEPTH = 200  # rows into the order up to which the index may be used
SHARE = 0.05  # of the candidates must match for the index search to go on
FIRST_LOOK = 2_000  # nearest vectors that are tested first when all are measured


class Search:
    """One vector search; ``way`` says how it was done, ``exact`` or ``index``."""

    def __init__(self, model: RegisteredModel, embedding: EmbeddingFilter) -> None:
        self.model, self.metric = model, embedding.distance_metric
        self.vector = embedding.vector(model)
        self.way = "exact"

    def places(
        self, filters: Filter, part: PageSlice, passed: int
    ) -> list[PagePosition]:
        """Return a part of the matching inferences by distance; those without one come last."""
        asked = conditions_of(self.model, filters)
        if asked is None:
            return []
        rest = Order(self._distance_of_row(), "float8")
        if part.after is not None and part.after.rank is None:
            return planner.unranked(asked, rest, part)
        is_filtered = filters != InferenceFilter()
        ranked = self._ranked(asked, part, passed, is_filtered)
        if len(ranked) == part.limit:
            return ranked
        offset = 0
        if part.offset and not ranked:
            offset = part.offset - self._count(asked)
        last = PageSlice(part.newest_first, part.limit - len(ranked), offset)
        return ranked + planner.unranked(asked, rest, last)

    def _count(self, asked: Conditions) -> int:
        """Return how many of the matching inferences have a distance."""
        measured = self._measured(Sql("model_key = %s", (self.model.pk,)))
        every = PageSlice(newest_first=False, limit=1)
        source, _ = self._matching_of(measured, asked, every, None)
        ((number,),) = _ask(Sql(f"SELECT count(*) {source.sql}", source.values))
        return int(number)

    def distances(self, ids: list[int]) -> dict[int, float | None]:
        """Return the distances of these inferences by id; None where a distance is not defined."""
        chosen = Sql("model_key = %s AND id = ANY(%s)", (self.model.pk, ids))
        measured = self._measured(chosen)
        return dict(_ask(Sql(f"SELECT id, d {measured.sql}", measured.values)))

    def _ranked(
        self, asked: Conditions, part: PageSlice, passed: int, is_filtered: bool
    ) -> list[PagePosition]:
        if is_filtered and self._are_few(asked):
            return self._of_matching(asked, part)
        within_reach = passed + part.needed <= DEPTH and not part.newest_first
        by_index = within_reach and is_indexed(self.model)
        if by_index and (rows := self._by_index(asked, part, is_filtered)):
            self.way = "index"
            return rows
        return self._of_all(asked, part)

    def _are_few(self, asked: Conditions) -> bool:
        some = f"SELECT 1 FROM {TABLE} WHERE {asked.everything.sql} LIMIT {FEW + 1}"
        counted = f"SELECT count(*) FROM ({some}) AS few"
        ((number,),) = _ask(Sql(counted, asked.everything.values))
        return int(number) <= FEW

    # -- exactly

    def _of_matching(self, asked: Conditions, part: PageSlice) -> list[PagePosition]:
        """Measure the vectors of the matching inferences."""
        every = asked.everything
        named = f"WITH named AS MATERIALIZED (SELECT {TABLE}.id FROM {TABLE} WHERE {every.sql})"
        chosen = Sql(
            "model_key = %s AND id = ANY(ARRAY(SELECT named.id FROM named))",
            (self.model.pk,),
        )
        return self._sorted(Sql(named, every.values), self._measured(chosen), part)

    def _of_all(self, asked: Conditions, part: PageSlice) -> list[PagePosition]:
        """Measure every vector of the model, and test the nearest ones against the filter."""
        measured = self._measured(Sql("model_key = %s", (self.model.pk,)))
        for first in (max(FIRST_LOOK, 4 * part.needed), None):
            source, full = self._matching_of(measured, asked, part, first)
            rows = self._page(source, part)
            if len(rows) == part.limit or first is None or not full():
                return rows
        return []

    # -- by an index

    def _by_index(
        self, asked: Conditions, part: PageSlice, is_filtered: bool
    ) -> list[PagePosition]:
        """Return the page by the index, or an empty list when it does not fill the page."""
        most = CANDIDATES[self.metric]
        near = self._candidates(Sql("true"), most)
        source, _ = self._matching_of(near, asked, part, None)
        rows = self._page(source, part, {"ef_search": most})
        is_full = len(rows) == part.limit
        if is_full and not is_filtered:
            return rows
        if not is_full and len(rows) < SHARE * most:
            return []
        # The candidates that pass the filter may fill a page and yet not be the nearest
        # matches. So the index search goes on until there are as many matching candidates.
        matches = Sql(
            f"EXISTS (SELECT 1 FROM {TABLE} WHERE {asked.everything.sql} "
            f"AND {TABLE}.id = {INDEXED}.id OFFSET 0)",
            asked.everything.values,
        )
        near = self._candidates(matches, most)
        source, _ = self._matching_of(near, asked, part, None)
        options = {"ef_search": most, "iterative_scan": "relaxed_order"}
        rows = self._page(source, part, options)
        return rows if len(rows) == part.limit else []

    def _candidates(self, test: Sql, most: int) -> Sql:
        """Return SQL of the nearest of the index and all vectors not yet in it, with distances."""
        expression = index_expression(self.model, "vector")
        unit = _text(_unit(self.vector))
        size = self.model.embedding_size
        indexed = Sql(
            f"SELECT id, vector FROM {INDEXED} WHERE model_key = {self.model.pk} "
            f"AND {test.sql} ORDER BY {expression} <=> %s::halfvec({size}) LIMIT {most}",
            (*test.values, unit),
        )
        recent = f"SELECT id, vector FROM {RECENT} WHERE model_key = {self.model.pk}"
        union = f"({indexed.sql}) UNION ALL ({recent})"
        return self._measure(Sql(union, indexed.values))

    # -- pieces of SQL

    def _matching_of(
        self, measured: Sql, asked: Conditions, part: PageSlice, first: int | None
    ) -> tuple[Sql, Any]:
        """Return the SQL of the nearest that match, and a function: were there more of them?"""
        beyond = self._beyond(part)
        limit = f" ORDER BY d {part.way}, id {part.way} LIMIT {first}" if first else ""
        nearest = (
            f"SELECT id, d {measured.sql} WHERE d IS NOT NULL AND {beyond.sql}{limit}"
        )
        values = measured.values + beyond.values
        every = asked.everything
        sql = (
            f"FROM (SELECT nearest.id, d FROM ({nearest}) AS nearest CROSS JOIN LATERAL "
            f"(SELECT 1 FROM {TABLE} WHERE {every.sql} "
            f"AND {TABLE}.id = nearest.id OFFSET 0) AS matching) AS found"
        )

        def full() -> bool:
            counted = Sql(f"SELECT count(*) FROM ({nearest}) AS nearest", values)
            ((number,),) = _ask(counted)
            return int(number) == first

        return Sql(sql, values + every.values), full

    def _measured(self, chosen: Sql) -> Sql:
        """Return SQL that measures the chosen vectors of both tables."""
        both = " UNION ALL ".join(
            f"(SELECT id, vector FROM {table} WHERE {chosen.sql})"
            for table in (INDEXED, RECENT)
        )
        return self._measure(Sql(both, chosen.values * 2))

    def _measure(self, vectors: Sql) -> Sql:
        """Return a ``FROM`` clause with the ``id`` and distance ``d`` of each vector."""
        sql = (
            f"FROM (SELECT id, {self._distance('vector')} AS d "
            f"FROM ({vectors.sql}) AS vectors OFFSET 0) AS measured"
        )
        return Sql(sql, (_text(self.vector), *vectors.values))

    def _distance(self, column: str) -> str:
        """Return the SQL of the distance, null where there is none, as for a vector of zeros."""
        distance = f"{column} {OPERATORS[self.metric]} %s::vector"
        for none in ("NaN", "Infinity", "-Infinity"):
            distance = f"nullif({distance}, '{none}'::float8)"
        return distance

    def _distance_of_row(self) -> Sql:
        """Return the SQL of the distance of a row of the inference table."""
        both = " UNION ALL ".join(
            f"SELECT vector FROM {table} WHERE model_key = {self.model.pk} "
            f"AND id = {TABLE}.id"
            for table in (INDEXED, RECENT)
        )
        distance = self._distance("vector")
        sql = f"(SELECT {distance} FROM ({both}) AS vectors LIMIT 1)"
        return Sql(sql, (_text(self.vector),))

    def _beyond(self, part: PageSlice) -> Sql:
        if part.after is None:
            return Sql("true")
        place = part.after
        sql = f"(d, id) {part.beyond} (%s::float8, %s)"
        return Sql(sql, (place.rank, place.row_id))

    def _sorted(self, named: Sql, measured: Sql, part: PageSlice) -> list[PagePosition]:
        beyond = self._beyond(part)
        sql = (
            f"{named.sql} SELECT id, d {measured.sql} WHERE d IS NOT NULL "
            f"AND {beyond.sql} ORDER BY d {part.way}, id {part.way} "
            f"LIMIT {part.limit} OFFSET {part.offset}"
        )
        values = named.values + measured.values + beyond.values
        return [PagePosition(d, row_id) for row_id, d in _ask(Sql(sql, values))]

    def _page(
        self, source: Sql, part: PageSlice, options: dict[str, object] | None = None
    ) -> list[PagePosition]:
        sql = (
            f"SELECT id, d {source.sql} ORDER BY d {part.way}, id {part.way} "
            f"LIMIT {part.limit} OFFSET {part.offset}"
        )
        rows = _ask(Sql(sql, source.values), options)
        return [PagePosition(d, row_id) for row_id, d in rows]


def _unit(vector: np.ndarray) -> np.ndarray:
    """Return the normalised vector, which fits into two-byte floats."""
    norm = np.linalg.norm(vector.astype(np.float64))
    return vector if norm == 0 else (vector / norm).astype(np.float32)


def _text(vector: np.ndarray) -> str:
    return f"[{','.join(map(repr, vector.tolist()))}]"


def _ask(fragment: Sql, options: dict[str, object] | None = None) -> list[Any]:
    """Run a query with settings of pgvector's HNSW index for this statement only."""
    with connection.cursor() as cursor:
        for name, value in (options or {}).items():
            cursor.execute(f"SET LOCAL hnsw.{name} = {value}")
        cursor.execute(fragment.sql, list(fragment.values))
        rows: list[Any] = cursor.fetchall()
        for name in options or {}:
            cursor.execute(f"SET LOCAL hnsw.{name} TO DEFAULT")
    return rows
