"""The query string of lists, read into an ``InferenceFilter``: for pages and for GET.

``since``, ``until``, ``action``, ``hash``, ``source``, ``label`` (repeatable),
``min_score``, ``max_score``, ``near`` (latitude,longitude,metres) and ``metadata``
(repeatable): ``camera=north``, ``frame:int>10``, ``pose.angle:json.float<=0.5``.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import django_filters
from django import forms
from django.core.exceptions import ValidationError
from django.utils.dateparse import parse_date, parse_datetime

from inferences.filters import (
    DetectionFilter,
    GeoCircle,
    GeoPoint,
    InferenceFilter,
    LocationFilter,
    MetadataFilter,
    TimeWindow,
)
from inferences.filters.metadata import READERS
from inferences.filters.time_window import BEGINNING
from inferences.models import Inference, InferenceAction

COMPARISON = re.compile(
    r"(?P<key>.+?)(?::(?P<type>(?:json\.)?[a-z]+))?\s*(?P<operator>!=|>=|<=|=|>|<| in )"
    r"\s*(?P<value>.*)",
    re.DOTALL,
)


class MomentField(forms.CharField):
    """A day or a moment in RFC 3339; without an offset it is UTC."""

    def __init__(self, *, end_of_day: bool = False, **options: Any) -> None:
        self.end_of_day = end_of_day
        super().__init__(**options)

    def clean(self, value: Any) -> datetime | None:
        text = super().clean(value).strip()
        if not text:
            return None
        try:
            if day := parse_date(text):
                last = datetime.max.time() if self.end_of_day else datetime.min.time()
                return datetime.combine(day, last, UTC)
            moment = parse_datetime(text.replace(" ", "+") if "T" in text else text)
        except ValueError:
            moment = None
        if moment is None:
            raise ValidationError("A day or a moment, such as 2026-01-31T12:00:00Z.")
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class ListField(forms.Field):
    """Every value that the query string gives under the name."""

    widget = forms.MultipleHiddenInput

    def clean(self, value: Any) -> list[str]:
        return [each for each in value or [] if each.strip()]


class MetadataField(ListField):
    """Comparisons such as ``frame:int>10``; without a type the value is a string."""

    def clean(self, value: Any) -> list[MetadataFilter]:
        return [self._comparison(each) for each in super().clean(value)]

    def _comparison(self, text: str) -> MetadataFilter:
        found = COMPARISON.fullmatch(text)
        if not found:
            raise ValidationError(f"{text!r} is not like camera=north or frame:int>10.")
        key, type_ = found["key"].strip(), found["type"]
        if type_ and type_ not in READERS:
            key, type_ = f"{key}:{type_}", None  # a colon of the key's own
        try:
            return MetadataFilter(
                key, type_ or "string", found["operator"].strip(), found["value"]
            )
        except ValueError as error:
            raise ValidationError(f"{text}: {error}") from None


class CircleField(forms.CharField):
    def clean(self, value: Any) -> GeoCircle | None:
        text = super().clean(value)
        if not text:
            return None
        try:
            latitude, longitude, radius = (float(part) for part in text.split(","))
            return GeoCircle(GeoPoint(latitude, longitude), radius)
        except ValueError as error:
            raise ValidationError(f"latitude,longitude,metres: {error}") from None


def _field(field: type[forms.Field], **options: Any) -> django_filters.Filter:
    made = django_filters.Filter(**options)
    made.field_class = field
    return made


class InferenceFilterSet(django_filters.FilterSet):
    """Reads the query string; ``inference_filter`` is the value it says."""

    since = _field(MomentField, label="Since")
    until = _field(MomentField, label="Until", end_of_day=True)
    action = django_filters.ChoiceFilter(
        label="Action", choices=[(name, name) for name in InferenceAction.labels]
    )
    hash = django_filters.CharFilter(label="Hash of the input", max_length=64)
    source = django_filters.CharFilter(label="Data source", max_length=255)
    label = _field(ListField, label="Label")
    min_score = django_filters.NumberFilter(label="Score from")
    max_score = django_filters.NumberFilter(label="Score to")
    near = _field(CircleField, label="Near")
    metadata = _field(MetadataField, label="Metadata")

    class Meta:
        model = Inference
        fields: list[str] = []

    def get_form_class(self) -> type[forms.Form]:
        return _WholeForm.made_of(super().get_form_class())

    @property
    def inference_filter(self) -> InferenceFilter:
        """The filter; raises ``ValidationError`` unless ``is_valid()``."""
        if not self.is_valid():
            raise ValidationError(self.form.errors)
        return self.form.cleaned_data["filter"]


class _WholeForm(forms.Form):
    """The form whose fields together make one filter."""

    @classmethod
    def made_of(cls, form: type[forms.Form]) -> type[forms.Form]:
        return type("InferenceFilterForm", (cls, form), {})

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if not self.errors:
            for name, build in BUILDERS.items():
                try:
                    cleaned[name] = build(cleaned)
                except ValueError as error:
                    self.add_error(None, str(error))
                    return cleaned
            cleaned["filter"] = _filter(cleaned)
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
        location=LocationFilter(cleaned["near"]) if cleaned["near"] else None,
        detections=cleaned["detections"],
    )
