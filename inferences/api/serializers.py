"""Rows of the store as JSON, under the names of the contract."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from rest_framework import serializers

from inferences.api.json_rows import to_json
from inferences.models import (
    BoxFormat,
    Inference,
    InferenceAction,
    RegisteredModel,
    TaskType,
)
from inferences.search.api.filter_serializers import GeoPointSerializer
from inferences.store.answer_fields import MISSING, PAGE_TOO_LARGE, TOO_LARGE
from istore.api.fields import (
    FlagField,
    HashField,
    LabelField,
    MomentField,
    OutsideIdField,
    TextField,
    WholeField,
)
from istore.api.serializers import StrictSerializer
from istore.upstreams import check_upstream_url


class UpstreamUrlField(TextField):
    """Where the model is served: http(s), and no address of a private network."""

    def to_internal_value(self, data: Any) -> str:
        url = super().to_internal_value(data)
        if url:
            try:
                check_upstream_url(url)
            except ValueError as error:
                raise serializers.ValidationError(
                    str(error), "upstream-url-not-allowed"
                ) from None
        return url


class ServerSettingsSerializer(StrictSerializer):
    """How a model is served, read and stored. All may change at any time."""

    class_labels = serializers.ListField(
        child=TextField(max_length=255), required=False, max_length=10_000
    )
    first_class_number = WholeField(
        min_value=0,
        max_value=1,
        required=False,
        help_text="The number of the first class label: 1 where 0 is the background.",
    )
    box_format = serializers.ChoiceField(BoxFormat.choices, required=False)
    upstream_url = UpstreamUrlField(required=False, max_length=2048)
    upstream_model = TextField(required=False, max_length=255)
    enable_inference_storage = FlagField(required=False)
    strip_metadata = FlagField(required=False)
    keep_failures = FlagField(required=False)
    text_embedding_service = TextField(required=False, max_length=255)
    text_search = FlagField(
        required=False,
        allow_null=True,
        help_text="Whether the words of prompts and answers are searched; null: if the "
        "task is about texts.",
    )
    text_search_language = TextField(
        required=False,
        max_length=63,
        allow_blank=False,
        help_text="A text search configuration of the database: simple, english, …",
    )


class NewModelSerializer(ServerSettingsSerializer):
    model_id = OutsideIdField()
    project_id = TextField(max_length=255, allow_blank=False)
    task_type = serializers.ChoiceField(TaskType.choices)
    embedding_size = WholeField(
        default=0, min_value=0, max_value=settings.ISTORE_EMBEDDING_MAX
    )


class ModelSerializer(serializers.ModelSerializer[RegisteredModel]):
    project_id = serializers.CharField(source="project.project_id")
    created_at = MomentField()
    updated_at = MomentField()
    proxy_url = serializers.SerializerMethodField()

    class Meta:
        model = RegisteredModel
        fields = [
            "model_id",
            "project_id",
            "task_type",
            "embedding_size",
            "class_labels",
            "first_class_number",
            "box_format",
            "upstream_url",
            "upstream_model",
            "enable_inference_storage",
            "strip_metadata",
            "keep_failures",
            "text_embedding_service",
            "text_search",
            "text_search_language",
            "proxy_url",
            "created_at",
            "updated_at",
        ]

    def get_proxy_url(self, model: RegisteredModel) -> str:
        return settings.ISTORE_PROXY_URL


class ModelsSerializer(serializers.Serializer[Any]):
    """All models that the caller may see."""

    results = ModelSerializer(many=True)
    next = serializers.CharField(allow_null=True)


class MetadataSerializer(serializers.Serializer[Any]):
    key = TextField()
    type = serializers.ChoiceField(["string", "int", "float", "json"])
    value = TextField()


class MaskSerializer(serializers.Serializer[Any]):
    """Run lengths as in COCO: column by column, beginning with those outside."""

    size = serializers.ListField(
        child=serializers.IntegerField(), help_text="Height and width."
    )
    counts = serializers.JSONField(help_text="Numbers, or COCO's compressed text.")


class DetectionSerializer(serializers.Serializer[Any]):
    """Something the model named, with the geometry that its answer gave it, if any."""

    label: Any = serializers.CharField()
    score = serializers.FloatField(allow_null=True)
    xmin = serializers.FloatField(required=False)
    ymin = serializers.FloatField(required=False)
    xmax = serializers.FloatField(required=False)
    ymax = serializers.FloatField(required=False)
    normalised = serializers.BooleanField(
        required=False, help_text="The box is in parts of the picture's size."
    )
    cx = serializers.FloatField(required=False)
    cy = serializers.FloatField(required=False)
    w = serializers.FloatField(required=False)
    h = serializers.FloatField(required=False)
    r = serializers.FloatField(required=False, help_text="In radians.")
    contours = serializers.ListField(
        child=serializers.ListField(
            child=serializers.ListField(child=serializers.FloatField())
        ),
        required=False,
        help_text="The outline, then its holes: lists of points [x, y].",
    )
    mask = MaskSerializer(required=False)


class ProbabilitySerializer(serializers.Serializer[Any]):
    """A class of a classifier with its probability."""

    label: Any = serializers.CharField()
    score = serializers.FloatField(allow_null=True)


class EntitySerializer(serializers.Serializer[Any]):
    """A span of the input text; ``end`` is not in it."""

    label: Any = serializers.CharField()
    start = serializers.IntegerField()
    end = serializers.IntegerField()
    score = serializers.FloatField(allow_null=True)
    text = serializers.CharField(
        allow_null=True, help_text="Null where the answer does not repeat the text."
    )


class InferenceSerializer(serializers.Serializer[Any]):
    """An inference with its payload: two rows, one object.

    ``detections`` and the fields after it are read from the answer and the input: one
    inference has all of them, a list those that are asked for by ``fields``.
    """

    model_id = serializers.CharField()
    inference_id = serializers.CharField()
    created_at = MomentField()
    updated_at = MomentField()
    inference_action = LabelField(InferenceAction)
    data: Any = serializers.CharField(allow_null=True)
    embedding_distance = serializers.FloatField(allow_null=True)
    metadata = MetadataSerializer(many=True)
    data_hash = HashField()
    data_size = serializers.IntegerField()
    data_source = serializers.CharField(allow_null=True)
    data_coordinates = GeoPointSerializer(allow_null=True)
    data_storage_key = serializers.CharField(allow_null=True)
    data_content_type = serializers.CharField(allow_null=True)
    presigned_url = serializers.CharField(allow_null=True)
    input_expired_at = MomentField(allow_null=True, help_text="Retention removed it.")
    is_protected = serializers.BooleanField()
    version = serializers.CharField()
    notes = serializers.DictField(allow_null=True)
    warnings = serializers.ListField(
        child=serializers.CharField(), help_text="What is not as it should be."
    )
    detections = DetectionSerializer(
        many=True,
        required=False,
        allow_null=True,
        help_text="Null where no label was looked for, empty where none was found. "
        "Of a classifier the best class.",
    )
    probabilities = ProbabilitySerializer(
        many=True,
        required=False,
        allow_null=True,
        help_text="All classes of a classifier, the best first.",
    )
    entities = EntitySerializer(many=True, required=False, allow_null=True)
    prediction = serializers.DictField(
        required=False,
        allow_null=True,
        help_text="By the columns of exports: label, value, values, series, text, …",
    )
    response = serializers.CharField(
        required=False, allow_null=True, help_text="The text that was generated."
    )
    prompt = serializers.CharField(
        required=False,
        allow_null=True,
        help_text="What a model of texts was asked; null when the input is gone.",
    )
    unread = serializers.DictField(
        child=serializers.ChoiceField([TOO_LARGE, PAGE_TOO_LARGE, MISSING]),
        required=False,
        help_text="Which fields are null because they could not be read, and why.",
    )

    def to_representation(self, inference: Inference) -> dict[str, Any]:
        return to_json(inference, presign=bool(self.context.get("presign")))


class PageSerializer(serializers.Serializer[Any]):
    """One page; ``next`` is the cursor of the one after it."""

    results = InferenceSerializer(many=True)
    next = serializers.CharField(allow_null=True)
    vector_search = serializers.ChoiceField(
        ["exact", "index"], required=False, help_text="How the nearest were found."
    )
    searched_until = MomentField(
        required=False,
        help_text="Of a search of words that took too long: `next` goes on behind it.",
    )


class CountSerializer(serializers.Serializer[Any]):
    count = serializers.IntegerField()
    is_exact = serializers.BooleanField(
        required=False, help_text="With a limit: false if there are more."
    )


class DeletedSerializer(serializers.Serializer[Any]):
    inference_id = serializers.CharField()
    bytes_gone_by = serializers.DateTimeField(
        required=False,
        help_text="Of a member of a pack on an object store. Absent: the bytes are gone.",
    )
