"""The filter on an area of an embedding map: ``map:``.

A map of principal components has no points of its own: each candidate's vector is projected
by the database. The points of a map of neighbours are rows.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from django.db.models import BooleanField, Q
from django.db.models.expressions import RawSQL

from inferences.models import (
    Embedding,
    Inference,
    MapBasis,
    MapPoint,
    MapTask,
    RecentEmbedding,
    RegisteredModel,
)
from inferences.models.metadata_values import read_float
from inferences.search.access_paths import Sql
from inferences.search.filters.kind import Kind, Reading, Term
from inferences.search.filters.leaf import Leaf
from inferences.search.filters.words import number
from inferences.store.metadata_slots import NOTHING
from istore.tasks.tracking import TaskState

LAYOUTS = ("pca", "tsne")
CORNERS_MOST = 200
FARTHEST = 1e6  # of a corner from the middle, in units of the axes
WRONG = "A map and at least three corners, such as map:(pca.1, 0 0, 1 0, 1 1)."
BRACKETED = re.compile(r"\(([^()]{0,10000})\)")
NAME = re.compile(r"(pca|tsne)\.([0-9]{1,9})")
TABLE = Inference._meta.db_table
VECTORS = (Embedding._meta.db_table, RecentEmbedding._meta.db_table)


@dataclass(frozen=True, slots=True)
class MapArea(Leaf):
    """The inference lies within a polygon on one of its model's maps.

    ``corners`` are x and y in units of the map. A map that was replaced has nothing in it.
    """

    layout: str
    number: int
    corners: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise ValueError(f"The map is one of {', '.join(LAYOUTS)}.")
        if not 3 <= len(self.corners) <= CORNERS_MOST:
            raise ValueError(f"An area has 3 to {CORNERS_MOST} corners.")
        for corner in self.corners:
            if not all(math.isfinite(c) and abs(c) <= FARTHEST for c in corner):
                raise ValueError("A corner is two numbers near the map.")

    def condition(self, model: RegisteredModel) -> Q:
        """Return a test of each candidate by the primary key of its vector or point."""
        if self.layout == "tsne":
            found = self._of_points(model)
        else:
            found = self._of_vectors(model)
        if found is None:
            return NOTHING
        return Q(RawSQL(found.sql, found.values, output_field=BooleanField()))

    def _of_points(self, model: RegisteredModel) -> Sql | None:
        if current_layout(model) != self.number:
            return None
        table = MapPoint._meta.db_table
        return Sql(
            f"EXISTS (SELECT 1 FROM {table} AS place WHERE place.model_key = %s "
            f"AND place.id = {TABLE}.id AND %s::polygon @> point(place.x, place.y))",
            (model.pk, self._polygon),
        )

    def _of_vectors(self, model: RegisteredModel) -> Sql | None:
        basis = MapBasis.objects.filter(
            registered_model=model, number=self.number
        ).first()
        if basis is None or len(basis.first) != model.embedding_size:
            return None
        x, y = project("place.vector", basis)
        tests, values = [], []
        for table in VECTORS:
            tests.append(
                f"EXISTS (SELECT 1 FROM {table} AS place WHERE place.model_key = %s "
                f"AND place.id = {TABLE}.id AND %s::polygon @> point({x.sql}, {y.sql}))"
            )
            values += [model.pk, self._polygon, *x.values, *y.values]
        return Sql(f"({' OR '.join(tests)})", tuple(values))

    @property
    def _polygon(self) -> str:
        return f"({','.join(f'({x!r},{y!r})' for x, y in self.corners)})"

    def __str__(self) -> str:
        return f"in an area of the map {self.layout}.{self.number}"

    def terms(self) -> Iterator[str]:
        corners = [f"{number(x)} {number(y)}" for x, y in self.corners]
        yield f"map:({self.layout}.{self.number}, {', '.join(corners)})"


def project(column: str, basis: MapBasis) -> tuple[Sql, Sql]:
    """Return x and y of a column of vectors on a map of principal components.

    pgvector's ``<#>`` is the negative inner product.
    """
    parts = []
    for axis, mean in zip((basis.first, basis.second), basis.means, strict=True):
        vector = f"[{','.join(map(repr, axis))}]"
        parts.append(
            Sql(
                f"(-(l2_normalize({column}) <#> %s::vector) - %s) / %s",
                (vector, mean, basis.unit),
            )
        )
    return parts[0], parts[1]


def current_layout(model: RegisteredModel) -> int | None:
    """Return the number of the model's map of neighbours; None before the first is laid out."""
    found = MapTask.objects.filter(registered_model=model, state=TaskState.COMPLETE)
    return found.order_by("-number").values_list("number", flat=True).first()


def _map(reading: Reading) -> MapArea:
    scanner = reading.scanner
    found = scanner.take(BRACKETED)
    if not found:
        raise scanner.error(WRONG)
    name, *corners = [part.strip() for part in found[1].split(",")]
    named = NAME.fullmatch(name)
    if not named:
        raise ValueError(WRONG)
    return MapArea(named[1], int(named[2]), tuple(map(_corner, corners)))


def _corner(text: str) -> tuple[float, float]:
    parts = text.split()
    if len(parts) != 2:
        raise ValueError(WRONG)
    return read_float(parts[0]), read_float(parts[1])


KIND = Kind(terms=(Term("map:", _map, ("map:(",)),))
