"""Quality over any filter, as JSON."""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from inferences.ground_truth.truths import FORMS
from inferences.search.api.filter_serializers import FilteredSerializer
from inferences.store.api.scoped_views import StoreView
from istore.api.fields import NumberField, TextField, WholeField
from istore.api.schema import PROBLEMS
from istore.api.serializers import ValueSerializer, optional
from istore.models import Role
from quality.figures.base import Figures
from quality.measuring import INTERVALS, Quality, QualityQuery, measure


class QualityQuerySerializer(ValueSerializer, FilteredSerializer):
    """Which inferences, and how their figures are to be parted."""

    value_class = QualityQuery

    group_by = TextField(
        max_length=300,
        help_text="time, version, environment, batch, conversation or metadata.<key>",
        **optional,
    )
    interval = serializers.ChoiceField(INTERVALS, **optional)
    form = serializers.ChoiceField(list(FORMS), **optional)
    threshold = NumberField(min_value=0, max_value=1, **optional)
    label: Any = TextField(max_length=255, **optional)
    limit = WholeField(min_value=1, max_value=settings.ISTORE_QUALITY_ROWS, **optional)


class ConfusionSerializer(serializers.Serializer[Any]):
    labels = serializers.ListField(child=serializers.CharField())
    counts = serializers.ListField(
        child=serializers.ListField(child=serializers.IntegerField()),
        help_text="A row for each actual label, a column for each predicted one.",
    )
    left_out = serializers.IntegerField(help_text="Rows of rarer labels.")


class GroupSerializer(serializers.Serializer[Any]):
    group = serializers.CharField()
    rows = serializers.IntegerField()
    figures = serializers.DictField(child=serializers.FloatField(allow_null=True))


class QualitySerializer(serializers.Serializer[Any]):
    form = serializers.CharField(allow_null=True, help_text="Of the ground truth.")
    rows = serializers.IntegerField(help_text="That the figures are of.")
    considered = serializers.IntegerField(help_text="That were looked at.")
    is_complete = serializers.BooleanField(
        help_text="False: more rows have a ground truth than may be looked at."
    )
    not_comparable = serializers.IntegerField()
    other_forms = serializers.DictField(child=serializers.IntegerField())
    figures = serializers.DictField(child=serializers.FloatField(allow_null=True))
    by_label = serializers.ListField(child=serializers.DictField())
    confusion = ConfusionSerializer(allow_null=True)
    curve = serializers.ListField(
        child=serializers.ListField(child=serializers.FloatField()),
        help_text="Recall and precision.",
    )
    curve_label = serializers.CharField()
    groups = GroupSerializer(many=True)
    groups_left_out = serializers.IntegerField()
    notes = serializers.ListField(child=serializers.CharField())


class QualityView(StoreView):
    """How good the answers were that match a filter and have a ground truth."""

    needs: ClassVar = {"POST": Role.VIEWER}

    @extend_schema(
        operation_id="get_quality",
        request=QualityQuerySerializer,
        responses={200: QualitySerializer, **PROBLEMS},
    )
    def post(self, request: Request, model_id: str) -> Response:
        model = self.registered_model(model_id)
        query = QualityQuerySerializer.parse(request.data)
        return Response(self.read(lambda: as_json(measure(model, query))))


def as_json(quality: Quality) -> dict[str, Any]:
    figures: Figures = quality.figures
    confusion = figures.confusion
    return {
        "form": quality.form,
        "rows": figures.rows,
        "considered": quality.considered,
        "is_complete": quality.is_complete,
        "not_comparable": quality.not_comparable,
        "other_forms": quality.other_forms,
        "figures": figures.overall,
        "by_label": figures.by_label,
        "confusion": confusion
        and {
            "labels": confusion.labels,
            "counts": confusion.counts,
            "left_out": confusion.left_out,
        },
        "curve": figures.curve,
        "curve_label": figures.curve_label,
        "groups": [
            {
                "group": each.name,
                "rows": each.figures.rows,
                "figures": each.figures.overall,
            }
            for each in quality.groups
        ],
        "groups_left_out": quality.groups_left_out,
        "notes": figures.notes,
    }
