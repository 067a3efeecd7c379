"""Parse the query string of lists (pages and plain GET) into a filter, and write it again.

``since``, ``until``, ``action``, ``hash``, ``source``, ``label`` (repeatable),
``min_score``, ``max_score``, ``near`` (latitude,longitude,radius), ``within`` (the
latitude and longitude of two opposite corners), ``truth`` (given, missing, agrees,
differs), ``warnings`` (yes, no, not-understood), ``metadata`` (repeatable: ``camera=north``,
``frame:int>10``, ``pose.angle:json.float<=0.5``, ``gain>=2`` for int and float alike), and
``q``, a text query. All must hold.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import django_filters
from django import forms
from django.core.exceptions import ValidationError
from django.http import QueryDict

from inferences.models import Inference, InferenceAction
from inferences.models.metadata_values import REAL, read_float
from inferences.search import text
from inferences.search.filters import (
    DetectionFilter,
    Filter,
    GeoCircle,
    GeoPoint,
    GeoRectangle,
    HasWarnings,
    InferenceFilter,
    IsNotUnderstood,
    LocationFilter,
    MetadataFilter,
    Not,
    TimeWindow,
)
from inferences.search.filters.ground_truth import STATES, TruthFilter
from inferences.search.filters.metadata import LOOKUPS, READERS
from inferences.search.filters.operands import read_list
from inferences.search.filters.time_window import BEGINNING
from inferences.search.filters.tree import And, all_of, normal
from inferences.search.text.words import number, write_circle, write_moment

# Programs send true and false; the pages send yes and no.
WITH_WARNINGS: dict[str, Filter] = {
    "yes": HasWarnings(),
    "no": Not(HasWarnings()),
    "true": HasWarnings(),
    "false": Not(HasWarnings()),
    "not-understood": IsNotUnderstood(),
}
# Every part before the value has a bounded length. Otherwise the match of a long run of
# blanks would take quadratic time.
COMPARISON = re.compile(
    r"(?P<key>.{1,1100}?)(?::(?P<type>(?:json\.)?[a-z]{1,20}))?\s{0,20}"
    r"(?P<operator>!=|>=|<=|=|>|<| in )\s*(?P<value>.*)",
    re.DOTALL,
)
VALUES_MAX = 100  # of one parameter in a URL; a text query or a body may have more


class MomentField(forms.CharField):
    """A day, a moment in RFC 3339 (UTC without an offset), or a time before now such as 24h."""

    def __init__(self, *, end_of_day: bool = False, **options: Any) -> None:
        self.end_of_day = end_of_day
        super().__init__(**options)

    def clean(self, value: Any) -> datetime | None:
        given = super().clean(value).strip()
        if not given:
            return None
        try:
            # An unescaped plus in a URL arrives as a blank.
            plain = given.replace(" ", "+") if "T" in given else given
            return text.moment_in(plain, end_of_day=self.end_of_day)
        except ValueError as error:
            raise ValidationError(str(error)) from None


class ListField(forms.Field):
    """All values of a repeatable parameter, without blank ones."""

    widget = forms.MultipleHiddenInput

    def clean(self, value: Any) -> list[str]:
        given = [each for each in value or [] if each.strip()]
        if len(given) > VALUES_MAX:
            raise ValidationError(f"More than {VALUES_MAX} of them.")
        return given


class MetadataField(ListField):
    """Comparisons such as ``frame:int>10``.

    Without a type, a value that parses as a number is a number of any type; everything else
    is a string.
    """

    def clean(self, value: Any) -> list[Any]:
        return [self._comparison(each) for each in super().clean(value)]

    def _comparison(self, text: str) -> MetadataFilter:
        found = COMPARISON.fullmatch(text)
        if not found:
            raise ValidationError(f"{text!r} is not like camera=north or frame:int>10.")
        key, type_ = found["key"].strip(), found["type"]
        if type_ and type_ not in READERS:
            key, type_ = f"{key}:{type_}", None  # a colon of the key's own
        operator, value = found["operator"].strip(), found["value"]
        try:
            type_ = type_ or inferred_type(operator, value)
            return MetadataFilter(key, type_, operator, value)
        except ValueError as error:
            raise ValidationError(f"{text}: {error}") from None


def inferred_type(operator: str, value: str) -> str:
    """Return the type of a comparison in a URL that states none: "number" or "string"."""
    try:
        values = read_list(value) if operator == "in" else [value]
    except ValueError:
        return "string"
    are_numbers = all(REAL.fullmatch(each.strip()) for each in values)
    return "number" if are_numbers else "string"


class CircleField(forms.CharField):
    """``latitude,longitude,radius``, the radius in metres or with ``m`` or ``km``."""

    def clean(self, value: Any) -> GeoCircle | None:
        given = super().clean(value)
        try:
            return text.circle_in(given) if given else None
        except ValueError as error:
            raise ValidationError(str(error)) from None


class RectangleField(forms.CharField):
    """Two opposite corners, as four numbers: latitude and longitude of each."""

    def clean(self, value: Any) -> GeoRectangle | None:
        given = super().clean(value)
        if not given:
            return None
        try:
            south, west, north, east = (read_float(n) for n in given.split(","))
            return GeoRectangle(GeoPoint(south, west), GeoPoint(north, east))
        except ValueError as error:
            is_place = "latitude" in str(error) or "longitude" in str(error)
            said = str(error) if is_place else "Two corners, as 51.9,4.1,52.0,4.2."
            raise ValidationError(said) from None


class TextQueryField(forms.CharField):
    """A text query; its errors name the column."""

    def __init__(self, **options: Any) -> None:
        super().__init__(strip=False, **options)

    def clean(self, value: Any) -> Filter:
        try:
            return text.parse(super().clean(value))
        except text.TextQueryError as error:
            raise ValidationError(str(error), code="text-query") from None


def _field(field: type[forms.Field], **options: Any) -> django_filters.Filter:
    made = django_filters.Filter(**options)
    made.field_class = field
    return made


class InferenceFilterSet(django_filters.FilterSet):
    """Parses the query string; ``inference_filter`` is the filter that it means."""

    since = _field(MomentField, label="Since")
    until = _field(MomentField, label="Until", end_of_day=True)
    action = django_filters.ChoiceFilter(
        label="Action", choices=[(name, name) for name in InferenceAction.labels]
    )
    hash = django_filters.CharFilter(label="Hash of the input", max_length=64)
    source = django_filters.CharFilter(label="Data source", strip=False)
    label = _field(ListField, label="Label")
    min_score = django_filters.NumberFilter(label="Score from")
    max_score = django_filters.NumberFilter(label="Score to")
    near = _field(CircleField, label="Near")
    within = _field(RectangleField, label="Within")
    truth = django_filters.ChoiceFilter(
        label="Ground truth", choices=[(name, name) for name in STATES]
    )
    warnings = django_filters.ChoiceFilter(
        label="Warnings", choices=[(name, name) for name in WITH_WARNINGS]
    )
    metadata = _field(MetadataField, label="Metadata")
    q = _field(TextQueryField, label="Query")

    class Meta:
        model = Inference
        fields: list[str] = []

    def get_form_class(self) -> type[forms.Form]:
        return _WholeForm.made_of(super().get_form_class())

    @property
    def inference_filter(self) -> Filter:
        """Return the filter of all parameters together. Raises ``ValidationError`` if not valid."""
        if not self.is_valid():
            raise ValidationError(self.form.errors)
        found: Filter = self.form.cleaned_data["filter"]
        return found


class _WholeForm(forms.Form):
    """The form of the filter set; ``clean`` combines its fields to one filter."""

    @classmethod
    def made_of(cls, form: type[forms.Form]) -> type[forms.Form]:
        return type("InferenceFilterForm", (cls, form), {})

    def clean(self) -> dict[str, Any]:
        super().clean()
        cleaned = self.cleaned_data
        if not self.errors:
            for name, build in BUILDERS.items():
                try:
                    cleaned[name] = build(cleaned)
                except ValueError as error:
                    self.add_error(None, str(error))
                    return cleaned
            try:
                cleaned["filter"] = all_of(
                    [
                        _filter(cleaned),
                        *_truth(cleaned),
                        *_warnings(cleaned),
                        cleaned["q"],
                    ]
                )
            except ValueError as error:  # more conditions than one filter may have
                self.add_error(None, str(error))
        return cleaned


def _hash(cleaned: dict[str, Any]) -> bytes | None:
    text = cleaned["hash"]
    if not text:
        return None
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise ValueError("hash: a SHA-256 has 64 hexadecimal digits.")
    return bytes.fromhex(text)


def _window(cleaned: dict[str, Any]) -> TimeWindow | None:
    since, until = cleaned["since"], cleaned["until"]
    return TimeWindow(since or BEGINNING, until) if since or until else None


def _detections(cleaned: dict[str, Any]) -> DetectionFilter | None:
    labels = cleaned["label"] or None
    low, high = cleaned["min_score"], cleaned["max_score"]
    if labels is None and low is None and high is None:
        return None
    return DetectionFilter(
        tuple(labels) if labels else None,
        None if low is None else float(low),
        None if high is None else float(high),
    )


BUILDERS = {"data_hash": _hash, "window": _window, "detections": _detections}


def _filter(cleaned: dict[str, Any]) -> InferenceFilter:
    actions = dict(zip(InferenceAction.labels, InferenceAction, strict=True))
    return InferenceFilter(
        inference_action=actions.get(cleaned["action"]),
        data_hash=cleaned["data_hash"],
        data_source=cleaned["source"] or None,
        time_window=cleaned["window"],
        metadata=tuple(cleaned["metadata"]),
        location=LocationFilter(cleaned["near"], cleaned["within"])
        if cleaned["near"] or cleaned["within"]
        else None,
        detections=cleaned["detections"],
    )


def _truth(cleaned: dict[str, Any]) -> list[Filter]:
    return [TruthFilter(cleaned["truth"])] if cleaned["truth"] else []


def _warnings(cleaned: dict[str, Any]) -> list[Filter]:
    given = cleaned["warnings"]
    return [WITH_WARNINGS[given]] if given else []


def parameters(filters: Filter) -> dict[str, list[str]]:
    """Return the query string of a filter: parameters where there are some, and ``q`` for the rest.

    Parsing it gives the filter's normal form again, except for the order of its parts.
    """
    found = normal(filters)
    given: dict[str, list[str]] = {}
    rest: list[Filter] = []
    for part in found.parts if isinstance(found, And) else (found,):
        said = _parameters(part) or {}
        # Parameters of one group are read as one filter, so each group is used once.
        taken = any(group & given.keys() and group & said.keys() for group in TOGETHER)
        if said and not taken and _reads_as(said, part):
            for name, values in said.items():
                given[name] = [*given.get(name, []), *values]
        else:
            rest.append(part)
    if rest:
        given["q"] = [text.write(And(tuple(rest)))]
    return given


TOGETHER = (
    {"since", "until"},
    {"label", "min_score", "max_score"},
    *(
        {name}
        for name in ("near", "within", "source", "hash", "action", "truth", "warnings")
    ),
)


def _parameters(part: Filter) -> dict[str, list[str]] | None:
    """Return the parameters that mean this part, or None if there are none."""
    match part:
        case TimeWindow(start, end):
            given = {"until": [write_moment(end, end_of_day=True)]} if end else {}
            if start != BEGINNING or not end:
                given["since"] = [write_moment(start)]
            return given
        case DetectionFilter(labels, low, high, None, None) if (
            part != DetectionFilter()
        ):
            given = {"label": list(labels)} if labels else {}
            if low is not None:
                given["min_score"] = [number(low)]
            if high is not None:
                given["max_score"] = [number(high)]
            return given
        case LocationFilter(GeoCircle() as circle, None):
            return {"near": [write_circle(circle)]}
        case LocationFilter(None, GeoRectangle(p1, p2)):
            corners = (p1.latitude, p1.longitude, p2.latitude, p2.longitude)
            return {"within": [",".join(map(number, corners))]}
        case TruthFilter(state):
            return {"truth": [state]}
        case HasWarnings():
            return {"warnings": ["yes"]}
        case Not(HasWarnings()):
            return {"warnings": ["no"]}
        case IsNotUnderstood():
            return {"warnings": ["not-understood"]}
        case MetadataFilter(key, type_, operator, value) if operator in LOOKUPS:
            sign = " in " if operator == "in" else operator
            stated = "" if type_ == "number" else f":{type_}"
            return {"metadata": [f"{key}{stated}{sign}{value}"]}
        case InferenceFilter():
            return _of_column(part)
    return None


def _of_column(part: InferenceFilter) -> dict[str, list[str]] | None:
    if part.data_source is not None:
        return {"source": [part.data_source]}
    if part.data_hash is not None:
        return {"hash": [bytes(part.data_hash).hex()]}
    action = part.inference_action
    return None if action is None else {"action": [action.label]}


def _reads_as(said: dict[str, list[str]], part: Filter) -> bool:
    """Return whether the parameters parse back to the part; odd metadata keys do not."""
    query = QueryDict(mutable=True)
    for name, values in said.items():
        query.setlist(name, values)
    filterset = InferenceFilterSet(query, Inference.objects.none())
    if not filterset.is_valid():
        return False
    read = normal(filterset.inference_filter)
    # A relative time is another moment when parsed again, but has the same repr.
    return read == part or repr(read) == repr(part)
