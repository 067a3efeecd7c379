"""Search the nearest inferences, exactly or by an index; a page says which.

A model's index gives candidates by cosine distance, which are measured and sorted exactly. So
one index serves all three metrics, as long as the norms of the vectors are alike; the others
take more candidates. The index search goes on until it has that many which match. The fewer
inferences match, the longer it goes on, so those of a rare filter are measured one by one.
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
from inferences.search.vectors.indexing import index_expression, indexed_vectors

INDEXED, RECENT = Embedding._meta.db_table, RecentEmbedding._meta.db_table
OPERATORS = {"cosine": "<=>", "l2": "<->", "negative_dot_product": "<#>"}
# Candidates for each row of a page: cosine is the order of the index, but for the rounding to
# two bytes; the rest have to make up for norms that vary by a fifth.
CANDIDATES = {"cosine": 2, "l2": 6, "negative_dot_product": 20}
PAGE_LEAST = 50  # rows that candidates are taken for, also of a shorter page
EFFORT = 200, 1_000  # least and most of pgvector's ``ef_search``
FEW = 20_000  # matching rows whose vectors are measured one by one without an index
DEPTH = 200  # rows into the order up to which the index may be used
COST = 5  # of a candidate of the index, in vectors that are measured (13 us and 2.6 us)
SCAN_COST = 25  # of a candidate, in vectors of a scan of all (0.5 us)
PATIENCE = 4  # times as far as the costs allow may an index search go for matches
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
        depth = passed + part.needed
        is_near = depth <= DEPTH and not part.newest_first
        most = CANDIDATES[self.metric] * max(PAGE_LEAST, depth)
        indexed = indexed_vectors(self.model) if is_near else 0
        if indexed < SCAN_COST * most:  # a scan takes less than the index
            indexed = 0
        # Of ``few`` matches among the indexed vectors, measuring all costs as much as finding
        # ``most`` by the index.
        few = int((COST * most * indexed) ** 0.5) if indexed else FEW
        if is_filtered and self._are_few(asked, few):
            return self._of_matching(asked, part)
        if indexed and (rows := self._by_index(asked, part, most, few)):
            self.way = "index"
            return rows
        return self._of_all(asked, part)

    def _are_few(self, asked: Conditions, few: int) -> bool:
        some = f"SELECT 1 FROM {TABLE} WHERE {asked.everything.sql} LIMIT {few + 1}"
        counted = f"SELECT count(*) FROM ({some}) AS few"
        ((number,),) = _ask(Sql(counted, asked.everything.values))
        return int(number) <= few

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
        self, asked: Conditions, part: PageSlice, most: int, few: int
    ) -> list[PagePosition]:
        """Return the page by the index, or an empty list when it does not fill the page."""
        source, _ = self._matching_of(self._candidates(asked, most), asked, part, None)
        options = {
            "ef_search": min(max(most, EFFORT[0]), EFFORT[1]),
            "iterative_scan": "relaxed_order",
            "max_scan_tuples": max(most, int(PATIENCE * few / COST)),
        }
        rows = self._page(source, part, options)
        return rows if len(rows) == part.limit else []

    def _candidates(self, asked: Conditions, most: int) -> Sql:
        """Return SQL of the nearest matches of the index and all vectors not yet in it."""
        matches = Sql(
            f"EXISTS (SELECT 1 FROM {TABLE} WHERE {asked.everything.sql} "
            f"AND {TABLE}.id = {INDEXED}.id OFFSET 0)",
            asked.everything.values,
        )
        expression = index_expression(self.model, "vector")
        unit = _text(_unit(self.vector))
        size = self.model.embedding_size
        indexed = Sql(
            f"SELECT id, vector FROM {INDEXED} WHERE model_key = {self.model.pk} "
            f"AND {matches.sql} ORDER BY {expression} <=> %s::halfvec({size}) LIMIT {most}",
            (*matches.values, unit),
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
