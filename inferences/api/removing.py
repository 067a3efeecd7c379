"""Deleting: one inference, or all that match a filter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from inferences.api.views import InferenceView
from inferences.models import RegisteredModel
from inferences.search.api.filter_serializers import (
    ChangedSelectionSerializer,
    matching_but,
)
from inferences.search.counting import count_matching
from inferences.store import removal, soft_deletion
from inferences.store.removal import Chosen
from inferences.tasks import notify_removals
from istore.api.fields import FlagField
from istore.api.schema import PROBLEMS
from istore.db.statement_timeout import statement_timeout
from istore.errors import Unprocessable


class BulkDeleteSerializer(ChangedSelectionSerializer):
    dry_run = FlagField(required=False, default=False)
    delete_action = serializers.ChoiceField(
        ["hard", "soft"],
        required=False,
        default="hard",
        help_text="soft: an administrator can restore them.",
    )


class BulkDeletedSerializer(serializers.Serializer[Any]):
    count = serializers.IntegerField()
    dry_run = serializers.BooleanField()
    deleted_inference_ids = serializers.ListField(child=serializers.CharField())


class BulkDeleteView(InferenceView):
    """Delete all inferences that match; hidden for good, or softly, when this answers."""

    inference_id = "delete"  # a caller may have chosen it for an inference

    @extend_schema(
        operation_id="bulk_delete_inferences",
        request=BulkDeleteSerializer,
        responses={200: BulkDeletedSerializer, **PROBLEMS},
    )
    def post(self, request: Request, model_id: str) -> Response:
        model = self.registered_model(model_id)
        wanted = BulkDeleteSerializer.parse(request.data)
        count = _matching_count(model, wanted)
        deleted: list[str] = []
        if not wanted["dry_run"]:
            is_soft = wanted["delete_action"] == "soft"
            delete = self._hide if is_soft else self._remove
            deleted = delete(model, lambda: matching_but(model, wanted))
            count = len(deleted)
        content: dict[str, Any] = {
            "count": count,
            "dry_run": wanted["dry_run"],
            "deleted_inference_ids": deleted,
        }
        return Response(content)

    def _remove(self, model: RegisteredModel, chosen: Chosen) -> list[str]:
        batches = removal.intend_all(self.caller, model, chosen)
        deleted = [inference_id for batch in batches for inference_id in batch]
        # The intents are the work; the message only tells of it, and beat sends it again.
        notify_removals(model.pk)
        return deleted

    def _hide(self, model: RegisteredModel, chosen: Chosen) -> list[str]:
        hidden = soft_deletion.hide_all(self.caller, model, chosen)
        found = soft_deletion.find_hidden(model, hidden).oldest_first()
        return list(found.values_list("inference_id", flat=True))


def _matching_count(model: RegisteredModel, wanted: Mapping[str, Any]) -> int:
    limit = settings.ISTORE_BULK_DELETE_MAX
    if wanted.get("exclude_inference_ids"):
        with statement_timeout():
            number = matching_but(model, wanted).order_by()[: limit + 1].count()
        is_exact = number <= limit
    else:
        count = count_matching(model, wanted["filters"], limit)
        number, is_exact = count.number, count.is_exact
    if not is_exact:
        message = (
            f"More than {limit} inferences match. Narrow the filter, or go in parts."
        )
        raise Unprocessable("too-many-matches", message)
    return number
