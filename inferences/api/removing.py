"""Deleting: one inference, or all that match a filter."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from inferences.api.views import InferenceView
from inferences.models import RegisteredModel
from inferences.search.api.filter_serializers import FilteredSerializer
from inferences.search.counting import count_matching
from inferences.search.filters import Filter
from inferences.search.rare_label_scan import all_matching
from inferences.store import removal
from inferences.tasks import notify_removals
from istore.api.fields import FlagField
from istore.api.schema import PROBLEMS
from istore.errors import Unprocessable


class BulkDeleteSerializer(FilteredSerializer):
    """A filter must be there: a misspelt one must never mean everything."""

    is_change = must_choose = True

    dry_run = FlagField(required=False, default=False)


class BulkDeletedSerializer(serializers.Serializer[Any]):
    count = serializers.IntegerField()
    dry_run = serializers.BooleanField()
    deleted_inference_ids = serializers.ListField(child=serializers.CharField())


class BulkDeleteView(InferenceView):
    """Delete all inferences that match; hidden for good when this answers."""

    inference_id = "delete"  # a caller may have chosen it for an inference

    @extend_schema(
        operation_id="bulk_delete_inferences",
        request=BulkDeleteSerializer,
        responses={200: BulkDeletedSerializer, **PROBLEMS},
    )
    def post(self, request: Request, model_id: str) -> Response:
        model = self.registered_model(model_id)
        wanted = BulkDeleteSerializer.parse(request.data)
        count = _matching_count(model, wanted["filters"])
        deleted: list[str] = []
        if not wanted["dry_run"]:
            deleted = self._delete(model, wanted["filters"])
            count = len(deleted)
        content: dict[str, Any] = {
            "count": count,
            "dry_run": wanted["dry_run"],
            "deleted_inference_ids": deleted,
        }
        return Response(content)

    def _delete(self, model: RegisteredModel, filters: Filter) -> list[str]:
        chosen = lambda: all_matching(model, filters)  # noqa: E731
        batches = removal.intend_all(self.caller, model, chosen)
        deleted = [inference_id for batch in batches for inference_id in batch]
        # The intents are the work; the message only tells of it, and beat sends it again.
        notify_removals(model.pk)
        return deleted


def _matching_count(model: RegisteredModel, filters: Filter) -> int:
    most = settings.ISTORE_BULK_DELETE_MAX
    count = count_matching(model, filters, most)
    if not count.is_exact:
        message = (
            f"More than {most} inferences match. Narrow the filter, or go in parts."
        )
        raise Unprocessable("too-many-matches", message)
    return count.number
