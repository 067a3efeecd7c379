"""Metadata on what is stored: one value, many values, counts and statistics."""

from __future__ import annotations

from typing import Any, ClassVar

from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from inferences.api.creating import MetadataValueSerializer
from inferences.api.serializers import MetadataSerializer
from inferences.models import MetadataChange, RegisteredModel
from inferences.search.api.filter_serializers import (
    ChangedSelectionSerializer,
    FilteredSerializer,
    matching_but,
)
from inferences.search.statistics import (
    BINS_MAX,
    BOTH,
    LAKE,
    RECORDS,
    StatisticsQuery,
    key_type_counts,
    statistics,
)
from inferences.store.api.scoped_views import StoreView
from inferences.store.metadata_edits import put_value, put_values, remove_value
from istore.api.fields import FlagField, MomentField, NumberField, TextField, WholeField
from istore.api.schema import PROBLEMS
from istore.api.serializers import ValueSerializer, optional
from istore.db.statement_timeout import statement_timeout
from istore.errors import Invalid
from istore.models import AuditEntry, Role


class MetadataListSerializer(serializers.Serializer[Any]):
    results = MetadataSerializer(many=True)


class KeySerializer(serializers.Serializer[Any]):
    key = serializers.CharField()


class MetadataView(StoreView):
    """The metadata of one inference."""

    @extend_schema(
        operation_id="get_metadata", responses={200: MetadataListSerializer, **PROBLEMS}
    )
    def get(self, request: Request, model_id: str, inference_id: str) -> Response:
        given = self.inference(model_id, inference_id).payload.metadata.items()
        results = [{"key": k, "type": t, "value": v} for k, (t, v) in given]
        return Response({"results": results})

    @extend_schema(
        operation_id="create_metadata",
        request=MetadataValueSerializer,
        responses={201: MetadataSerializer, **PROBLEMS},
    )
    def post(self, request: Request, model_id: str, inference_id: str) -> Response:
        model = self.registered_model(model_id)
        value = MetadataValueSerializer.parse(request.data)
        put_value(self.caller, model, inference_id, value, replace=False)
        content = {"key": value.key, "type": str(value.type), "value": value.text}
        return Response(content, status=201)


class OneMetadataView(StoreView):
    """One metadata value of one inference."""

    @extend_schema(
        operation_id="replace_metadata",
        request=MetadataValueSerializer,
        responses={200: MetadataSerializer, **PROBLEMS},
    )
    def put(
        self, request: Request, model_id: str, inference_id: str, key: str
    ) -> Response:
        model = self.registered_model(model_id)
        value = MetadataValueSerializer.parse(request.data)
        if value.key != key:
            raise Invalid("Not the key of the address.", "key")
        put_value(self.caller, model, inference_id, value, replace=True)
        content = {"key": value.key, "type": str(value.type), "value": value.text}
        return Response(content)

    @extend_schema(
        operation_id="delete_metadata",
        responses={200: KeySerializer, **PROBLEMS},
    )
    def delete(
        self, request: Request, model_id: str, inference_id: str, key: str
    ) -> Response:
        model = self.registered_model(model_id)
        if not remove_value(self.caller, model, inference_id, key):
            raise Http404
        return Response({"key": key})


class MetadataChangeSerializer(serializers.ModelSerializer[MetadataChange]):
    at = MomentField()

    class Meta:
        model = MetadataChange
        fields = ["key", "before", "after", "actor", "at"]


class MetadataChangesSerializer(serializers.Serializer[Any]):
    results = MetadataChangeSerializer(many=True)


class MetadataHistoryView(StoreView):
    """How the metadata of one inference changed since it was stored, oldest first."""

    @extend_schema(
        operation_id="get_metadata_history",
        responses={200: MetadataChangesSerializer, **PROBLEMS},
    )
    def get(self, request: Request, model_id: str, inference_id: str) -> Response:
        inference = self.inference(model_id, inference_id)
        changes = MetadataChange.objects.filter(
            registered_model=inference.registered_model_id, row_id=inference.id
        ).order_by("id")
        return Response({"results": MetadataChangeSerializer(changes, many=True).data})


class BulkMetadataSerializer(ChangedSelectionSerializer):
    # The length is an argument of the list that DRF makes of it.
    metadata = MetadataValueSerializer(  # type: ignore[call-arg]
        many=True, allow_empty=False, max_length=20
    )
    replace = FlagField(required=False, default=False)


class ChangedSerializer(serializers.Serializer[Any]):
    changed = serializers.DictField(
        child=serializers.IntegerField(), help_text="By key, how many changed."
    )


class BulkMetadataView(StoreView):
    """Give values to all inferences that match a filter."""

    @extend_schema(
        operation_id="bulk_add_metadata",
        request=BulkMetadataSerializer,
        responses={200: ChangedSerializer, **PROBLEMS},
    )
    def post(self, request: Request, model_id: str) -> Response:
        model = self.registered_model(model_id)
        wanted = BulkMetadataSerializer.parse(request.data)
        changed = put_values(
            self.caller,
            model,
            lambda: matching_but(model, wanted),
            wanted["metadata"],
            replace=wanted["replace"],
        )
        AuditEntry.write(
            self.caller, "metadata.bulk", model_id, model.project, changed=changed
        )
        return Response({"changed": changed})


class KeyTypeCountsSerializer(serializers.Serializer[Any]):
    counts = serializers.DictField(
        child=serializers.DictField(child=serializers.IntegerField())
    )


class KeyTypeCountsView(StoreView):
    """How many inferences carry each key, by type."""

    @extend_schema(
        operation_id="get_metadata_key_type_counts",
        responses={200: KeyTypeCountsSerializer, **PROBLEMS},
    )
    def get(self, request: Request, model_id: str) -> Response:
        return Response({"counts": key_type_counts(self.registered_model(model_id))})


class StatisticsQuerySerializer(ValueSerializer, FilteredSerializer):
    value_class = StatisticsQuery

    key = TextField(max_length=1024, allow_blank=False)
    type = serializers.ChoiceField(["string", "int", "float", "number"])
    distribution_bin_count = WholeField(min_value=1, max_value=BINS_MAX, **optional)
    distribution_bin_width = NumberField(**optional)
    distribution_minimum_value = NumberField(**optional)
    distribution_maximum_value = NumberField(**optional)

    def validate_distribution_bin_width(self, width: float | None) -> float | None:
        if width is not None and width <= 0:
            raise serializers.ValidationError("A width is above 0.")
        return width


class StatisticsSerializer(serializers.Serializer[Any]):
    count = serializers.IntegerField()
    distribution = serializers.DictField(child=serializers.IntegerField())
    min = serializers.FloatField(allow_null=True)
    max = serializers.FloatField(allow_null=True)
    distinct_count = serializers.IntegerField(allow_null=True)
    is_complete = serializers.BooleanField(
        help_text="False: only the most frequent values are listed, or the lake could not add all."
    )
    source = serializers.ChoiceField(  # type: ignore[assignment]  # a base's attribute
        [RECORDS, LAKE, BOTH],
        help_text="lake: the store has no records of that time any more, a table of the lake has; "
        "records-and-lake: the table adds those that the store has removed.",
    )


class StatisticsView(StoreView):
    """What the values of one key look like over a filter."""

    needs: ClassVar = {"POST": Role.VIEWER}

    @extend_schema(
        operation_id="get_metadata_statistics",
        request=StatisticsQuerySerializer,
        responses={200: StatisticsSerializer, **PROBLEMS},
    )
    def post(self, request: Request, model_id: str) -> Response:
        model: RegisteredModel = self.registered_model(model_id)
        query = StatisticsQuerySerializer.parse(request.data)
        try:
            with statement_timeout():
                found = statistics(model, query)
        except ValueError as error:
            raise Invalid(str(error)) from None
        return Response(StatisticsSerializer(found).data)
