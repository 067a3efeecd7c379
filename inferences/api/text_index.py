"""The API of a model's text index: how far it is, and indexing anew."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from inferences.models import RegisteredModel, TextIndexTask
from inferences.store import text_reindexing
from inferences.store.api.scoped_views import StoreView
from inferences.store.text_indexing import is_searched
from istore.api.fields import MomentField
from istore.api.schema import PROBLEMS
from istore.tasks.tracking import TaskState


class TextIndexTaskSerializer(serializers.Serializer[Any]):
    """A task that indexes the texts of all records anew, the newest first."""

    state = serializers.ChoiceField(TaskState.choices)
    reason = serializers.CharField(help_text="Why it failed or stopped.")
    expected_count = serializers.IntegerField(help_text="Records.")
    indexed_count = serializers.IntegerField(help_text="Records.")
    rate = serializers.FloatField(allow_null=True, help_text="Records a second.")
    seconds_left = serializers.FloatField(allow_null=True)
    created_by = serializers.CharField()
    created_at = MomentField()
    started_at = MomentField(allow_null=True)
    finished_at = MomentField(allow_null=True)


class TextIndexSerializer(serializers.Serializer[Any]):
    is_searched = serializers.BooleanField()
    language = serializers.CharField()
    languages = serializers.ListField(
        child=serializers.CharField(), help_text="Those that the database has."
    )
    task = TextIndexTaskSerializer(
        allow_null=True, help_text="The last that indexed anew; null without one."
    )


class TextIndexView(StoreView):
    """The index of the words of a model's prompts and answers."""

    @extend_schema(
        operation_id="get_text_index",
        responses={200: TextIndexSerializer, **PROBLEMS},
    )
    def get(self, request: Request, model_id: str) -> Response:
        return Response(_shown(self.registered_model(model_id)))

    @extend_schema(
        operation_id="index_texts_anew",
        request=None,
        responses={202: TextIndexSerializer, **PROBLEMS},
    )
    def post(self, request: Request, model_id: str) -> Response:
        model = self.registered_model(model_id)
        with transaction.atomic():
            task = text_reindexing.start(self.caller, model)
        return Response(_shown(model, task), status=202)


def _shown(model: RegisteredModel, task: TextIndexTask | None = None) -> dict[str, Any]:
    last = task or model.text_index_tasks.order_by("-created_at").first()
    value = {
        "is_searched": is_searched(model),
        "language": model.text_search_language,
        "languages": text_reindexing.languages(),
        "task": last,
    }
    return dict(TextIndexSerializer(value).data)
