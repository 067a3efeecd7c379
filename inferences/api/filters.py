"""The filter body of the contract, read into filter values."""

from __future__ import annotations

from django.conf import settings
from rest_framework import serializers

from inferences.api.fields import (
    FlagField,
    HashField,
    LabelField,
    MomentField,
    NumberField,
    TextField,
    WholeField,
)
from inferences.filters import (
    DetectionFilter,
    GeoCircle,
    GeoPoint,
    GeoRectangle,
    InferenceFilter,
    LocationFilter,
    MetadataFilter,
    TimeWindow,
)
from inferences.filters.metadata import LOOKUPS, READERS
from inferences.models import InferenceAction
from inferences.querying import InferenceQuery, Pagination
from istore.serializers import ValueSerializer, optional


class TimeWindowSerializer(ValueSerializer):
    value_class = TimeWindow

    start = MomentField(**optional)
    end = MomentField(**optional)


class MetadataFilterSerializer(ValueSerializer):
    value_class = MetadataFilter

    key = TextField(max_length=1024, allow_blank=False)
    type = serializers.ChoiceField(list(READERS))
    operator = serializers.ChoiceField(list(LOOKUPS))
    value = TextField()


class GeoPointSerializer(ValueSerializer):
    value_class = GeoPoint

    latitude = NumberField(min_value=-90, max_value=90)
    longitude = NumberField(min_value=-180, max_value=180)


class GeoCircleSerializer(ValueSerializer):
    value_class = GeoCircle

    center = GeoPointSerializer()
    radius = NumberField(min_value=0)


class GeoRectangleSerializer(ValueSerializer):
    value_class = GeoRectangle

    p1 = GeoPointSerializer()
    p2 = GeoPointSerializer()


class LocationFilterSerializer(ValueSerializer):
    value_class = LocationFilter

    gps_coordinates_circle = GeoCircleSerializer(source="circle", **optional)
    gps_coordinates_rectangle = GeoRectangleSerializer(source="rectangle", **optional)


class DetectionFilterSerializer(ValueSerializer):
    value_class = DetectionFilter

    labels = serializers.ListField(
        child=TextField(), max_length=settings.ISTORE_FILTER_MAX_VALUES, **optional
    )
    minimum_score = NumberField(**optional)
    maximum_score = NumberField(**optional)


class InferenceFilterSerializer(ValueSerializer):
    value_class = InferenceFilter

    inference_action_filter = LabelField(
        InferenceAction, source="inference_action", **optional
    )
    data_hash_filter = HashField(source="data_hash", **optional)
    data_source_filter = TextField(source="data_source", **optional)
    time_window_filter = TimeWindowSerializer(source="time_window", **optional)
    metadata_filter = MetadataFilterSerializer(
        source="metadata",
        many=True,
        max_length=settings.ISTORE_FILTER_MAX_CONDITIONS,
        **optional,
    )
    location_filter = LocationFilterSerializer(source="location", **optional)
    deconstructed_inference_filter = DetectionFilterSerializer(
        source="detections", **optional
    )


class PaginationSerializer(ValueSerializer):
    value_class = Pagination

    direction = serializers.ChoiceField(["asc", "desc"], **optional)
    limit = WholeField(min_value=1, max_value=settings.ISTORE_PAGE_MAX, **optional)
    offset = WholeField(min_value=0, max_value=2**31, **optional)
    sort = serializers.ChoiceField(["created_at"], **optional)
    cursor = TextField(max_length=200, **optional)


class InferenceQuerySerializer(ValueSerializer):
    value_class = InferenceQuery

    filters = InferenceFilterSerializer(**optional)
    pagination = PaginationSerializer(**optional)
    presign = FlagField(required=False, default=False)
