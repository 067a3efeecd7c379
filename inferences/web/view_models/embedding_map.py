"""The points of a model's map of embeddings, with their colours, for the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.conf import settings
from django.db import connection

from inferences.embedding_maps.vectors import TABLES
from inferences.models import (
    GroundTruth,
    Inference,
    LabelName,
    MapBasis,
    MapPoint,
    RegisteredModel,
)
from inferences.search.filters import Filter
from inferences.search.filters.map_area import project
from inferences.search.filters.metadata import KINDS
from inferences.store.metadata_slots import place_of
from inferences.web.view_models.colours import colours_of
from inferences.web.view_models.sampling import sample
from istore.db.statement_timeout import statement_timeout

COLOURS_MOST = 20  # values with a colour of their own; the others share one
SECONDS = 5.0
DIGITS = 3
NONE = "none"
LISTED = 24  # twins and outliers
ALIKE = 0.02  # cosine distance up to which two vectors are near-duplicates
Names = dict[int, str | None]  # the category of each row, if it has a value


@dataclass(frozen=True, slots=True)
class Category:
    """A value that colours points; ``hue`` is the number of a CSS class, None for the rest."""

    name: str
    hue: int | None
    count: int


@dataclass(frozen=True, slots=True)
class Points:
    """Places as columns of equal length; ``category`` is an index into ``categories``."""

    x: list[float]
    y: list[float]
    category: list[int]
    inference_ids: list[str]
    categories: list[Category]
    is_whole: bool


@dataclass(frozen=True, slots=True)
class Remarkable:
    """An inference that is nearly another one's duplicate, or far from all others."""

    inference_id: str
    distance: float
    other_id: str = ""


def points(
    model: RegisteredModel, filters: Filter, basis: MapBasis | None, colour: str
) -> Points:
    """Return the points of the newest matches: of a basis, or of the map of neighbours.

    Raises ``OperationalError`` if that exceeds the timeout.
    """
    most = settings.ISTORE_MAP_POINTS
    with statement_timeout(SECONDS):
        drawn = sample(model, filters, ("id", "inference_id", "labels", "scores"), most)
        ids = drawn.ids
        places = _projected(model, basis, ids) if basis else _laid_out(model, ids)
        rows = [row for row in drawn.rows if row.id in places]
        names = _names(model, rows, colour)
    categories = _categories(model, names.values(), colour)
    rest = len(categories) - 1
    index: dict[str | None, int] = {
        each.name: place for place, each in enumerate(categories[:rest])
    }
    return Points(
        [round(places[row.id][0], DIGITS) for row in rows],
        [round(places[row.id][1], DIGITS) for row in rows],
        [index.get(names[row.id], rest) for row in rows],
        [row.inference_id for row in rows],
        categories,
        drawn.is_whole,
    )


def _projected(
    model: RegisteredModel, basis: MapBasis, ids: Sequence[int]
) -> dict[int, tuple[float, float]]:
    x, y = project("vector", basis)
    found: dict[int, tuple[float, float]] = {}
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(
                f"SELECT id, {x.sql}, {y.sql} FROM {table} "
                "WHERE model_key = %s AND id = ANY(%s)",
                [*x.values, *y.values, model.pk, list(ids)],
            )
            found |= {row_id: (a, b) for row_id, a, b in cursor.fetchall()}
    return {n: place for n, place in found.items() if np.isfinite(place).all()}


def _laid_out(
    model: RegisteredModel, ids: Sequence[int]
) -> dict[int, tuple[float, float]]:
    rows = MapPoint.objects.beside(model).filter(id__in=list(ids))
    return {row_id: (x, y) for row_id, x, y in rows.values_list("id", "x", "y")}


def _names(model: RegisteredModel, rows: Sequence[Any], colour: str) -> Names:
    """Return the value of each row that colours its point."""
    ids = [row.id for row in rows]
    if colour == "truth":
        return dict.fromkeys(ids) | _truths(model, ids)
    if colour == "label":
        known = LabelName.objects.in_bulk({(row.labels or [0])[0] for row in rows})
        best = {row.id: (row.labels or [0])[0] for row in rows}
        return {n: known[b].name if b in known else None for n, b in best.items()}
    return dict.fromkeys(ids) | _values(model, ids, colour)


def _truths(model: RegisteredModel, ids: Sequence[int]) -> Names:
    found = GroundTruth.objects.beside(model).filter(id__in=list(ids))
    names: Names = {}
    for row_id, truth in found.values_list("id", "truth"):
        labels = truth.get("labels") or [
            each.get("label")
            for form in ("boxes", "polygons", "entities")
            for each in truth.get(form) or ()
        ]
        if labels:
            names[row_id] = str(labels[0])
    return names


def _values(model: RegisteredModel, ids: Sequence[int], colour: str) -> Names:
    key, _, type_ = colour.rpartition(":")
    place = place_of(model, key, KINDS[type_]) if type_ in KINDS else None
    if place is None:
        return {}
    if place.slot:
        rows = model.inferences.filter(id__in=list(ids)).values_list("id", place.slot)
    else:
        rows = place.rows(model).filter(id__in=list(ids)).values_list("id", "value")
    return {row_id: str(value) for row_id, value in rows if value is not None}


def _categories(
    model: RegisteredModel, names: Collection[str | None], colour: str
) -> list[Category]:
    """Return the most frequent values, most frequent first, and the rest as the last one."""
    given = [name for name in names if name is not None]
    none, counts = len(names) - len(given), Counter(given)
    shown = counts.most_common(COLOURS_MOST)
    hue_of = colours_of(model)
    is_label = colour in ("label", "truth")
    found = [
        Category(name, hue_of(name) if is_label else place, count)
        for place, (name, count) in enumerate(shown)
    ]
    others = counts.total() - sum(count for _, count in shown)
    name = f"{len(counts) - len(shown)} others" if others else NONE
    return [*found, Category(name, None, others + none)]


def near_duplicates(model: RegisteredModel) -> list[Remarkable]:
    """Return the pairs with the least distance, each once."""
    # Two that are the nearest of each other are told by the later one.
    test = (
        "place.distance <= %s AND (place.id > place.nearest OR NOT EXISTS ("
        f"SELECT 1 FROM {MapPoint._meta.db_table} AS twin "
        "WHERE twin.model_key = place.model_key AND twin.id = place.nearest "
        "AND twin.nearest = place.id))"
    )
    found = _remarkable(model, test, "ASC", ALIKE)
    return [each for each in found if each.other_id]


def outliers(model: RegisteredModel) -> list[Remarkable]:
    """Return the inferences that are farthest from their nearest one."""
    return _remarkable(model, "place.distance > %s", "DESC", ALIKE)


def _remarkable(
    model: RegisteredModel, test: str, direction: str, bound: float
) -> list[Remarkable]:
    table, rows = MapPoint._meta.db_table, Inference._meta.db_table
    sql = (
        f"SELECT row.inference_id, place.distance, coalesce(other.inference_id, '') "
        f"FROM {table} AS place JOIN {rows} AS row ON row.model_key = place.model_key "
        f"AND row.id = place.id AND NOT row.deleted LEFT JOIN {rows} AS other "
        "ON other.model_key = place.model_key AND other.id = place.nearest "
        f"AND NOT other.deleted WHERE place.model_key = %s AND {test} "
        f"ORDER BY place.distance {direction}, place.id LIMIT {LISTED}"
    )
    with statement_timeout(SECONDS), connection.cursor() as cursor:
        cursor.execute(sql, [model.pk, bound])
        return [Remarkable(*row) for row in cursor.fetchall()]
