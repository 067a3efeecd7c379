"""Protecting: one inference, or all that match a filter; and no longer."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from inferences.api.views import InferenceView
from inferences.models.metadata_values import UNSTORABLE
from inferences.search.api.filter_serializers import (
    ChangedSelectionSerializer,
    matching_but,
)
from inferences.store import protection
from inferences.store.protection import REASON_MAX_CHARS, Protection
from istore.api.fields import FlagField, MomentField, TextField
from istore.api.schema import PROBLEMS
from istore.api.serializers import ValueSerializer
from istore.db.statement_timeout import statement_timeout


class ReasonField(TextField):
    """Why, in a sentence. It is kept in the audit log for good."""

    default_error_messages = {"unstorable": "A NUL, or half a surrogate pair."}

    def __init__(self, **options: Any) -> None:
        super().__init__(required=False, max_length=REASON_MAX_CHARS, **options)

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if UNSTORABLE.search(text):
            self.fail("unstorable")
        return text


class ProtectionSerializer(ValueSerializer):
    value_class = Protection

    is_protected = FlagField(required=False)
    reason = ReasonField()


class ProtectedSerializer(serializers.Serializer[Any]):
    inference_id = serializers.CharField()
    is_protected = serializers.BooleanField()
    input_expired_at = MomentField(
        required=False,
        help_text="When its input went: there only where the record alone is kept.",
    )


class ProtectionView(InferenceView):
    """Whether retention leaves an inference alone."""

    @extend_schema(
        operation_id="protect_inference",
        request=ProtectionSerializer,
        responses={200: ProtectedSerializer, **PROBLEMS},
    )
    def put(self, request: Request, model_id: str, inference_id: str) -> Response:
        model = self.registered_model(model_id)
        wanted = ProtectionSerializer.parse(request.data)
        done = protection.protect_one(self.caller, model, inference_id, wanted)
        if done is None:
            raise Http404
        told = {"inference_id": inference_id, "is_protected": wanted.is_protected}
        if done.input_expired_at:
            moment = MomentField().to_representation(done.input_expired_at)
            told["input_expired_at"] = moment
        return Response(told)

    # Somebody's id may end like this address.

    @extend_schema(exclude=True)
    def get(
        self, request: Request, model_id: str, inference_id: str = ""
    ) -> HttpResponse:
        return super().get(request, model_id, f"{inference_id}/protection")

    @extend_schema(exclude=True)
    def delete(
        self, request: Request, model_id: str, inference_id: str = ""
    ) -> Response:
        return super().delete(request, model_id, f"{inference_id}/protection")


class BulkProtectionSerializer(ChangedSelectionSerializer):
    is_protected = FlagField(required=False, default=True)
    reason = ReasonField(default="")
    dry_run = FlagField(required=False, default=False)


class BulkProtectedSerializer(serializers.Serializer[Any]):
    count = serializers.IntegerField(help_text="How many changed, or would.")
    being_removed = serializers.IntegerField(help_text="How many came too late.")
    input_expired = serializers.IntegerField(
        help_text="Of those protected now, how many had lost their input before."
    )
    is_protected = serializers.BooleanField()
    dry_run = serializers.BooleanField()
    more = serializers.BooleanField(help_text="Whether the same call finds more.")


class BulkProtectionView(InferenceView):
    """Protect all inferences that match, or no longer."""

    inference_id = "protection"  # a caller may have chosen it for an inference

    @extend_schema(
        operation_id="bulk_protect_inferences",
        request=BulkProtectionSerializer,
        responses={200: BulkProtectedSerializer, **PROBLEMS},
    )
    def post(self, request: Request, model_id: str) -> Response:
        model = self.registered_model(model_id)
        asked = BulkProtectionSerializer.parse(request.data)
        wanted = Protection(asked["is_protected"], asked["reason"])

        def chosen() -> Any:
            return matching_but(model, asked)

        if asked["dry_run"]:
            with statement_timeout():
                waiting = chosen().filter(is_protected=not wanted.is_protected)
                gone = protection.with_expired_input(waiting).count()
                done = protection.Changed(
                    waiting.count(), input_expired=gone if wanted.is_protected else 0
                )
        else:
            done = protection.protect_all(self.caller, model, chosen, wanted)
        return Response(
            {
                "count": done.count,
                "being_removed": done.being_removed,
                "input_expired": done.input_expired,
                "is_protected": wanted.is_protected,
                "dry_run": asked["dry_run"],
                "more": done.more,
            }
        )
