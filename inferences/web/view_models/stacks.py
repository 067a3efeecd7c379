"""Counts in each stretch of time by label or by model version: the parts of the volume."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from inferences.models import LabelName, MetadataKind, RegisteredModel
from inferences.models.row_ids import first_id_at
from inferences.search.filters import Filter
from inferences.store.metadata_slots import SlotRef, place_of
from inferences.web.view_models import summaries
from inferences.web.view_models.colours import colours_of
from inferences.web.view_models.sampling import Sample, sample
from istore.db.statement_timeout import statement_timeout

Counted = tuple[int, Any, int]  # the number of the stretch, from 1, a name, a count
STACKS = {"": "All", "label": "By label", "version": "By version"}
VERSION = "model_version"
PARTS_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Part:
    """The counts of one label or version, one for each stretch; ``style`` is its CSS class."""

    name: str
    counts: list[int]
    style: str


@dataclass(frozen=True, slots=True)
class Stacks:
    """The parts, most frequent first, with all rarer ones as one; of a sample or of all."""

    parts: list[Part]
    is_whole: bool
    noun: str


def count_by(
    model: RegisteredModel, filters: Filter, edges: Sequence[datetime], by: str
) -> Stacks | None:
    """Return the counts of the newest matches, or of all, by label or version.

    An inference with several labels counts for each of them. None if there is no version.
    """
    limits = [first_id_at(edge) for edge in edges]
    if by == "label":
        counted, is_whole = _by_label(model, filters, limits)
    else:
        place = place_of(model, VERSION, MetadataKind.STRING)
        if place is None:
            return None
        counted, is_whole = _by_version(model, filters, place, limits)
    if not counted:
        return None
    noun = "labels" if by == "label" else "inferences"
    return Stacks(_parts(model, counted, len(edges) - 1, by), is_whole, noun)


def _by_label(
    model: RegisteredModel, filters: Filter, limits: Sequence[int]
) -> tuple[list[Counted], bool]:
    sql = (
        f"SELECT width_bucket(id, {_array(limits)}), label, count(*) FROM (SELECT DISTINCT "
        "found.id, each.label FROM ({rows}) AS found, unnest(found.labels) AS each (label)) "
        "AS pairs GROUP BY 1, 2"
    )
    rows, is_whole = summaries.aggregate(model, filters, ("id", "labels"), sql), True
    if rows is None:
        drawn = _draw(model, filters)
        pairs = ((r.id, label) for r in drawn.rows for label in set(r.labels or ()))
        rows, is_whole = _place(pairs, limits), drawn.is_whole
    known = LabelName.objects.in_bulk({number for _, number, _ in rows})
    # A label whose name was removed meanwhile is left out.
    named = [(at, known[n].name, c) for at, n, c in rows if n in known]
    return named, is_whole


def _by_version(
    model: RegisteredModel, filters: Filter, place: SlotRef, limits: Sequence[int]
) -> tuple[list[Counted], bool]:
    if place.slot:
        column = connection.ops.quote_name(place.slot)
        sql = (
            f"SELECT width_bucket(id, {_array(limits)}), {column}, count(*) "
            f"FROM ({{rows}}) AS found WHERE {column} IS NOT NULL GROUP BY 1, 2"
        )
        rows = summaries.aggregate(model, filters, ("id", place.slot), sql)
        if rows is not None:
            return rows, True
    drawn = _draw(model, filters)
    ids = drawn.ids
    if place.slot:
        found = model.inferences.filter(id__in=ids).values_list("id", place.slot)
    else:
        found = place.rows(model).filter(id__in=ids).values_list("id", "value")
    return _place(((n, v) for n, v in found if v is not None), limits), drawn.is_whole


def _draw(model: RegisteredModel, filters: Filter) -> Sample:
    with statement_timeout(summaries.EACH_SECONDS):
        return sample(model, filters)


def _array(limits: Sequence[int]) -> str:
    # Whole numbers of our own, so nothing in them has to be escaped.
    return f"ARRAY[{', '.join(map(str, limits[:-1]))}]::bigint[]"


def _place(
    pairs: Iterable[tuple[int, Any]], limits: Sequence[int]
) -> list[tuple[int, Any, int]]:
    """Return pairs of id and name as counts, as ``width_bucket`` would."""
    places = Counter((bisect_right(limits[:-1], n), name) for n, name in pairs)
    return [(place, name, count) for (place, name), count in places.items()]


def _parts(
    model: RegisteredModel, counted: Iterable[Counted], bins: int, by: str
) -> list[Part]:
    totals: Counter[str] = Counter()
    counts: dict[str, list[int]] = {}
    for place, name, count in counted:
        if 1 <= place <= bins:
            totals[name] += count
            counts.setdefault(name, [0] * bins)[place - 1] += count
    shown = [name for name, _ in totals.most_common(PARTS_SHOWN)]
    hue_of = colours_of(model)
    # Versions have no colours of their own: those of the first labels, in order of the names.
    order = {name: place for place, name in enumerate(sorted(shown))}
    parts = [
        Part(n, counts[n], f"hue-{hue_of(n) if by == 'label' else order[n]}")
        for n in shown
    ]
    rest = [counts[name] for name in totals if name not in order]
    if rest:
        others = [sum(each) for each in zip(*rest, strict=True)]
        parts.append(
            Part(f"{len(rest)} other{'' if len(rest) == 1 else 's'}", others, "others")
        )
    return parts
