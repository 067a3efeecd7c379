"""Serializers of a line of an export, which an import reads back."""

from __future__ import annotations

from django.conf import settings
from rest_framework import serializers

from inferences.ground_truth.writes import ACTOR_CHARS
from inferences.models import InferenceAction, MetadataType
from inferences.models.metadata_values import MetadataValue
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
from istore.api.serializers import StrictSerializer, ValueSerializer, optional

RECORD = 1  # version of the line format; an unknown version is refused


class _FileSerializer(StrictSerializer):
    path = TextField(allow_blank=False)
    content_type = TextField(max_length=255, required=False, default="")


class _MetadataSerializer(ValueSerializer):
    value_class = MetadataValue

    key = TextField(allow_blank=False)
    type = serializers.ChoiceField(MetadataType.choices)
    value = TextField(source="text")


class _DetectionSerializer(StrictSerializer):
    label = TextField(allow_blank=False)
    score = NumberField(allow_null=True)


class _TruthSerializer(StrictSerializer):
    truth = serializers.DictField()
    set_by = TextField(max_length=ACTOR_CHARS)
    set_at = MomentField()


class RecordSerializer(StrictSerializer):
    """A line, whole; project and model may be those that it came from."""

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
    data = TextField(required=False, default="")
    detections = _DetectionSerializer(many=True, **optional)
    # For models that answer one class. Older exports have the distribution as detections.
    probabilities = _DetectionSerializer(many=True, **optional)
    notes = serializers.JSONField(**optional)
    content_hash = HashField(**optional)
    input = _FileSerializer(**optional)
    answer = _FileSerializer(**optional)
    ground_truth = _TruthSerializer(**optional)
