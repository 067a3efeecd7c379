"""The lines of an NDJSON export: what was stored of one inference, as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self

from django.conf import settings
from rest_framework import serializers

from inferences.ground_truth.writes import ACTOR_CHARS
from inferences.models import InferenceAction, MetadataType
from inferences.models.metadata_values import RESERVED, MetadataValue, read_float
from inferences.real_numbers import beyond_reals
from inferences.search.filters import GeoPoint
from istore.api.fields import (
    FlagField,
    HashField,
    LabelField,
    MomentField,
    NumberField,
    OutsideIdField,
    TextField,
    WholeField,
)
from istore.api.serializers import ValueSerializer, optional
from istore.errors import Invalid

RECORD = 1  # version of the line format; an unknown version is refused

Pair = tuple[str, float | None]  # a label and its score


@dataclass(frozen=True, slots=True)
class FileBeside:
    """A file beside the line; its path begins at the line's directory."""

    path: str
    content_type: str = ""


@dataclass(frozen=True, slots=True)
class LineTruth:
    """The ground truth of a line, in the form in which it was stored."""

    truth: dict[str, Any]
    set_by: str
    set_at: datetime


@dataclass(frozen=True, slots=True)
class RecordLine:
    """A line; project and model may be those that it came from."""

    record: int
    inference_id: str
    created_at: datetime
    inference_action: InferenceAction
    data_hash: bytes
    data_size: int
    project_id: str | None = None
    model_id: str | None = None
    updated_at: datetime | None = None
    data_source: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    is_protected: bool = False
    metadata: Sequence[MetadataValue] = ()
    embedding: list[float] | None = None
    data: str = ""
    detections: list[Pair] | None = None
    # For models that answer one class. Older exports have the distribution as detections.
    probabilities: list[Pair] | None = None
    notes: dict[str, Any] | None = None
    content_hash: bytes | None = None
    input: FileBeside | None = None
    answer: FileBeside | None = None
    ground_truth: LineTruth | None = None

    @classmethod
    def from_json(cls, body: Any) -> Self:
        """Return the line of a JSON value. Raises a 400 that names what is wrong."""
        line: Self = RecordLineSerializer.parse(body)
        names = ("embedding", "detections", "probabilities")
        parts = {name: body[name] for name in names if body.get(name) is not None}
        if beyond := beyond_reals(parts, is_stored=True):
            path, message = beyond
            raise Invalid(message, *path)
        return line

    def with_columns(self) -> Self:
        """Return the line with latitude, longitude and data source out of its metadata.

        They are never stored as metadata. But exports of stores that kept them there for calls
        through the proxy have both.
        """
        texts = {each.key: each.text for each in self.metadata if each.key in RESERVED}
        latitude, longitude = self.latitude, self.longitude
        if latitude is None and longitude is None:
            with suppress(ValueError, KeyError):  # not a valid place: it stays empty
                place = GeoPoint(
                    read_float(texts["latitude"]), read_float(texts["longitude"])
                )
                latitude, longitude = place.latitude, place.longitude
        source = self.data_source
        return replace(
            self,
            metadata=[each for each in self.metadata if each.key not in RESERVED],
            data_source=texts.get("data_source") or None if source is None else source,
            latitude=latitude,
            longitude=longitude,
        )


def is_record(body: Any) -> bool:
    """Return whether a line is an exported record and not a create."""
    return isinstance(body, dict) and "record" in body


class _FileSerializer(ValueSerializer):
    value_class = FileBeside

    path = TextField(allow_blank=False)
    content_type = TextField(max_length=255, required=False, default="")


class _MetadataSerializer(ValueSerializer):
    value_class = MetadataValue

    key = TextField(allow_blank=False)
    type = serializers.ChoiceField(MetadataType.choices)
    value = TextField(source="text")


class _PairSerializer(ValueSerializer):
    label: Any = TextField(allow_blank=False)
    score = NumberField(allow_null=True)

    def build(self, fields: dict[str, Any]) -> Pair:
        return fields["label"], fields.get("score")


class _TruthSerializer(ValueSerializer):
    value_class = LineTruth

    truth = serializers.DictField()
    set_by = TextField(max_length=ACTOR_CHARS)
    set_at = MomentField()


class RecordLineSerializer(ValueSerializer):
    value_class = RecordLine

    record = serializers.ChoiceField([RECORD])
    project_id = TextField(required=False)
    model_id = OutsideIdField(required=False)
    inference_id = OutsideIdField()
    created_at = MomentField()
    updated_at = MomentField(**optional)
    inference_action = LabelField(InferenceAction)
    data_hash = HashField()
    data_size = WholeField(min_value=0, max_value=2**63 - 1)
    data_source = TextField(**optional)
    latitude = NumberField(min_value=-90, max_value=90, **optional)
    longitude = NumberField(min_value=-180, max_value=180, **optional)
    is_protected = FlagField(required=False, default=False)
    metadata = _MetadataSerializer(many=True, required=False)
    embedding = serializers.ListField(
        child=NumberField(), max_length=settings.ISTORE_EMBEDDING_MAX, **optional
    )
    data: Any = TextField(required=False, default="")
    detections = _PairSerializer(many=True, **optional)
    probabilities = _PairSerializer(many=True, **optional)
    notes = serializers.JSONField(**optional)
    content_hash = HashField(**optional)
    input = _FileSerializer(**optional)
    answer = _FileSerializer(**optional)
    ground_truth = _TruthSerializer(**optional)
