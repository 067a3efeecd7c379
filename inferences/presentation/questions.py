"""The browse page's query string: read into rows and chips, written back as one form.

The form sends each metadata comparison in four parts (``key``, ``type``, ``operator``,
``value``); the address holds it as the one ``metadata`` that the API and links know.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from django.core.exceptions import ValidationError
from django.http import QueryDict

from inferences.filters import MetadataFilter
from inferences.filters.metadata import LOOKUPS, READERS
from inferences.filterset import COMPARISON, InferenceFilterSet, MomentField
from inferences.models import Inference

SLOTTED = (  # filters whose errors have a place of their own in the form
    "q",
    "since",
    "until",
    "action",
    "hash",
    "source",
    "label",
    "min_score",
    "max_score",
    "near",
    "metadata",
)
PARTS = ("key", "type", "operator", "value")
VIEWS = ("gallery", "table")
PAGING = ("cursor",)
SINGLE = {
    "q": "query",
    "since": "since",
    "until": "until",
    "action": "action",
    "source": "source",
    "hash": "hash",
    "min_score": "score ≥",
    "max_score": "score ≤",
    "near": "near",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One metadata comparison of the form."""

    key: str = ""
    type: str = "string"
    operator: str = "="
    value: str = ""
    error: str = ""

    @classmethod
    def read(cls, text: str) -> Row:
        found = COMPARISON.fullmatch(text)
        if not found:
            return cls(value=text, error="Not like camera=north or frame:int>10.")
        key, type_ = found["key"].strip(), found["type"]
        if type_ and type_ not in READERS:
            key, type_ = f"{key}:{type_}", None
        row = cls(key, type_ or "string", found["operator"].strip(), found["value"])
        try:
            MetadataFilter(row.key, row.type, row.operator, row.value)
        except ValueError as error:
            return cls(*(getattr(row, part) for part in PARTS), error=str(error))
        return row

    def __str__(self) -> str:
        operator = " in " if self.operator == "in" else self.operator
        return f"{self.key}:{self.type}{operator}{self.value}"


@dataclass(frozen=True, slots=True)
class Chip:
    """An active filter, and the query string without it."""

    name: str
    value: str
    without: str
    invalid: bool = False


class Question:
    """What the page was asked; ``filterset`` reads it, ``query`` is how it is written."""

    def __init__(self, given: QueryDict) -> None:
        self.was_a_form = "key" in given
        self.query = _canonical(given)
        self.filterset = InferenceFilterSet(self.query, Inference.objects.none())

    @property
    def view(self) -> str:
        asked = self.query.get("view")
        return asked if asked in VIEWS else VIEWS[0]

    @property
    def cursor(self) -> str | None:
        return self.query.get("cursor") or None

    @property
    def shown_keys(self) -> list[str]:
        return self.query.getlist("show")

    def leave_out(self, usual: list[str]) -> None:
        """An address need not say that the usual keys are shown."""
        if self.shown_keys == usual:
            self.query.pop("show", None)

    @property
    def labels(self) -> list[str]:
        return self.query.getlist("label")

    types = tuple(READERS)
    operators = tuple(LOOKUPS)
    error_names = ("form", *SLOTTED)

    @property
    def gallery_link(self) -> str:
        return self.link(view="gallery")

    @property
    def table_link(self) -> str:
        return self.link(view="table")

    @property
    def is_filtered(self) -> bool:
        return bool(self.chips)

    def link(self, **changes: str | None) -> str:
        """The query string with these values, None taking one out; never the cursor."""
        query = self.query.copy()
        query.pop("cursor", None)
        for name, value in changes.items():
            query.pop(name, None)
            if value is not None:
                query[name] = value
        return f"?{query.urlencode()}"

    @cached_property
    def rows(self) -> list[Row]:
        return [Row.read(text) for text in self.query.getlist("metadata")]

    @cached_property
    def errors(self) -> dict[str, list[str]]:
        """What cannot be read, by the name of the field; empty when all can."""
        errors = self.filterset.form.errors
        return {("form" if n == "__all__" else n): list(e) for n, e in errors.items()}

    @property
    def since(self) -> str:
        return self._local("since", end_of_day=False)

    @property
    def until(self) -> str:
        return self._local("until", end_of_day=True)

    def _local(self, name: str, end_of_day: bool) -> str:
        """The moment as a ``datetime-local`` control wants it."""
        field = MomentField(end_of_day=end_of_day, required=False)
        try:
            moment: datetime | None = field.clean(self.query.get(name, ""))
        except ValidationError:
            return ""
        if not moment:
            return ""
        return moment.astimezone(UTC).replace(tzinfo=None).isoformat("T", "seconds")

    @cached_property
    def chips(self) -> list[Chip]:
        return list(self._chips())

    def _chips(self) -> Iterator[Chip]:
        wrong = self.errors
        for name, said in SINGLE.items():
            if value := self.query.get(name):
                shown = value.replace("T", " ") if name in ("since", "until") else value
                yield Chip(said, shown, self.link(**{name: None}), name in wrong)
        for label in self.query.getlist("label"):
            yield Chip("label", label, self._without("label", label))
        for text, row in zip(self.query.getlist("metadata"), self.rows, strict=True):
            value = f"{row.operator} {row.value}"
            yield Chip(
                row.key or "metadata",
                value,
                self._without("metadata", text),
                bool(row.error),
            )

    def _without(self, name: str, value: str) -> str:
        query = self.query.copy()
        query.pop("cursor", None)
        query.setlist(name, [each for each in query.getlist(name) if each != value])
        return f"?{query.urlencode()}"


def _canonical(given: QueryDict) -> QueryDict:
    """The parameters that say something, each comparison as one."""
    query = QueryDict(mutable=True)
    for name in ("view", *InferenceFilterSet.base_filters, "show", *PAGING):
        values = [v for v in given.getlist(name) if v.strip() and "\0" not in v]
        if name == "metadata":
            values = [*values, *map(str, _rows(given))]
        if values:
            query.setlist(name, list(dict.fromkeys(values)))
    return query


def _rows(given: QueryDict) -> Iterator[Row]:
    columns: list[Any] = [given.getlist(part) for part in PARTS]
    for key, type_, operator, value in zip(*columns, strict=False):
        # A row that is being filled in asks nothing yet.
        if not (key.strip() and value.strip()) or "\0" in key + value:
            continue
        if operator in LOOKUPS and type_ in READERS:
            yield Row(key.strip(), type_, operator, value.strip())
