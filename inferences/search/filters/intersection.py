"""The filter of the API contract: the intersection of everything that is given."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_
from typing import Any

from django.conf import settings
from django.db.models import Q

from inferences.models import InferenceAction, RegisteredModel
from inferences.models.metadata_values import in_slot
from inferences.models.zone_maps import COUNTED
from inferences.search.access_paths import (
    NO_ROWS,
    AccessPath,
    path_by_column,
    paths_of_all,
)
from inferences.search.filters.detections import DetectionFilter
from inferences.search.filters.kind import Kind, Parameter, Reading, Term
from inferences.search.filters.leaf import Filter, Leaf
from inferences.search.filters.location import LocationFilter
from inferences.search.filters.metadata import MetadataFilter
from inferences.search.filters.time_window import TimeWindow
from inferences.search.filters.tree import And, normal
from inferences.search.filters.words import word
from inferences.search.zone_maps.tallies import Tally, tally_of_each, tally_of_value
from inferences.store import metadata_slots
from inferences.store.metadata_slots import NOTHING

ACTIONS = dict(zip(InferenceAction.labels, InferenceAction, strict=True))
SHA256 = re.compile("[0-9a-fA-F]{64}")


@dataclass(frozen=True, slots=True)
class _ColumnFilter:
    """A column of the row has the value; None is a word that the model does not know."""

    column: str
    value: object

    def condition(self, model: RegisteredModel) -> Q:
        return NOTHING if self.value is None else Q(**{self.column: self.value})

    def access_paths(self, model: RegisteredModel) -> list[AccessPath]:
        """Return the path by inference_by_hash or inference_by_source; an action has none."""
        if self.value is None:
            return [NO_ROWS]
        if self.column == "inference_action":  # its four values select too many rows
            return []
        equal_to = (self.value,) if self.column == "source_id" else ()
        test = self.condition(model)
        return [
            path_by_column(model, self.column, test, equal_to=equal_to, is_exact=True)
        ]

    def tally(self, model: RegisteredModel) -> Tally | None:
        if self.value is None or self.column not in COUNTED:
            return None
        value = self.value
        return tally_of_value(
            self.column, int(value) if isinstance(value, int) else value
        )


@dataclass(frozen=True, slots=True)
class InferenceFilter(Leaf):
    """The intersection of the filters that are set; with none set, everything matches."""

    inference_action: InferenceAction | None = None
    data_hash: bytes | None = None
    data_source: str | None = None
    time_window: TimeWindow | None = None
    metadata: Sequence[MetadataFilter] = ()
    location: LocationFilter | None = None
    detections: DetectionFilter | None = None

    def __post_init__(self) -> None:
        most = settings.ISTORE_FILTER_MAX_CONDITIONS
        if self._size() > most:
            raise ValueError(f"More than {most} conditions.")

    def condition(self, model: RegisteredModel) -> Q:
        """Return all conditions joined by AND."""
        return reduce(and_, [part.condition(model) for part in self._parts(model)], Q())

    def access_paths(self, model: RegisteredModel) -> list[AccessPath]:
        return paths_of_all(part.access_paths(model) for part in self._parts(model))

    def tally(self, model: RegisteredModel) -> Tally | None:
        """Return the tally within an OR or NOT; a count goes through the leaves."""
        tallies = [part.tally(model) for part in self._parts(model)]
        return tallies[0] if len(tallies) == 1 else tally_of_each(tallies)

    def _parts(self, model: RegisteredModel) -> Iterator[Filter]:
        if self.inference_action is not None:
            yield _ColumnFilter("inference_action", self.inference_action)
        if self.data_hash is not None:
            yield _ColumnFilter("data_hash", self.data_hash)
        if self.data_source is not None:
            number = metadata_slots.sources.number(model, in_slot(self.data_source))
            yield _ColumnFilter("source_id", number)
        for one in (self.time_window, *self.metadata, self.location, self.detections):
            if one is not None:
                yield one

    def _size(self) -> int:
        of_columns = (self.inference_action, self.data_hash, self.data_source)
        given = (*of_columns, self.time_window, self.detections)
        shapes = list(self.location.leaves()) if self.location else []
        return sum(one is not None for one in (*given, *self.metadata, *shapes))

    def leaves(self) -> Iterator[Filter]:
        for name in ("inference_action", "data_hash", "data_source"):
            if (value := getattr(self, name)) is not None:
                yield InferenceFilter(**{name: value})
        if self.time_window is not None:
            yield self.time_window
        yield from self.metadata
        if self.location is not None:
            yield from self.location.leaves()
        if self.detections is not None:
            yield self.detections

    def __bool__(self) -> bool:
        return self._size() > 0

    def terms(self) -> Iterator[str]:
        if self.data_source is not None:
            yield f"source:{word(self.data_source)}"
        elif self.data_hash is not None:
            yield f"hash:{bytes(self.data_hash).hex()}"

    def parameters(self) -> dict[str, list[str]]:
        if self.data_source is not None:
            return {"source": [self.data_source]}
        if self.data_hash is not None:
            return {"hash": [bytes(self.data_hash).hex()]}
        return {}


def all_of(filters: list[Filter]) -> Filter:
    """Return the filter that all of these make together, without parts that match everything."""
    given = [each for each in filters if normal(each) != And(())]
    if len(given) == 1:
        return given[0]
    return And(tuple(given)) if given else InferenceFilter()


def _source(reading: Reading) -> Filter:
    return InferenceFilter(data_source=reading.scanner.value()[0])


def _hash(reading: Reading) -> Filter:
    digest = reading.scanner.value()[0]
    if not SHA256.fullmatch(digest):
        raise ValueError("A SHA-256 has 64 hexadecimal digits.")
    return InferenceFilter(data_hash=bytes.fromhex(digest))


def _action(reading: Reading) -> Filter:
    return reading.word(f"The actions are {', '.join(ACTIONS)}.")


def _build(given: Mapping[str, Any]) -> dict[str, Any]:
    if given["hash"] and not SHA256.fullmatch(given["hash"]):
        raise ValueError("hash: a SHA-256 has 64 hexadecimal digits.")
    return {
        "inference_action": ACTIONS.get(given["action"]),
        "data_hash": bytes.fromhex(given["hash"]) if given["hash"] else None,
        "data_source": given["source"] or None,
    }


CHOICES = {
    name: InferenceFilter(inference_action=each) for name, each in ACTIONS.items()
}
KIND = Kind(
    terms=(
        Term("source:", _source, known="sources"),
        Term("action:", _action),
        Term("hash:", _hash),
    ),
    words={f"action:{name}": each for name, each in CHOICES.items()},
    parameters=(
        Parameter("action", "Action", "action", choices=CHOICES),
        Parameter("hash", "Hash of the input", "hash", max_length=64),
        Parameter("source", "Data source", "source"),
    ),
    build=_build,
)
