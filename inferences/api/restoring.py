"""What was soft-deleted, for administrators: list it, restore it, remove it for good."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from inferences.api.serializers import InferenceSerializer
from inferences.api.views import read_filters
from inferences.models import Inference, RegisteredModel
from inferences.search.api.filter_serializers import CHOOSING, FilteredSerializer
from inferences.search.filters import Filter
from inferences.store import soft_deletion
from inferences.store.api.scoped_views import StoreView
from inferences.store.removal import Chosen
from inferences.store.soft_deletion import Done
from inferences.tasks import notify_removals
from istore.api.fields import (
    FlagField,
    MomentField,
    OutsideIdField,
    TextField,
    WholeField,
)
from istore.api.schema import PROBLEMS
from istore.api.serializers import invalid, optional
from istore.db.statement_timeout import statement_timeout
from istore.errors import Invalid
from istore.models import Role

IDS_MOST = 1000


class DeletedQuerySerializer(FilteredSerializer):
    """Which, and the page; without a filter all that was soft-deleted."""

    limit = WholeField(min_value=1, max_value=1000, required=False, default=50)
    cursor = TextField(max_length=20, **optional)


class DeletedInferenceSerializer(InferenceSerializer):
    deleted_at = MomentField(help_text="Since when it is hidden.")

    def to_representation(self, inference: Inference) -> dict[str, Any]:
        said = super().to_representation(inference)
        deleted_at = self.fields["deleted_at"].to_representation(
            inference.payload.deleted_at
        )
        return {**said, "deleted_at": deleted_at}


class DeletedPageSerializer(serializers.Serializer[Any]):
    results = DeletedInferenceSerializer(many=True)
    next = serializers.CharField(allow_null=True)


class ChosenSerializer(FilteredSerializer):
    """By ids or by a filter, one of which must be there."""

    is_change = True

    inference_ids = serializers.ListField(
        child=OutsideIdField(), max_length=IDS_MOST, allow_empty=False, required=False
    )
    dry_run = FlagField(required=False, default=False)

    def to_internal_value(self, data: Any) -> Any:
        fields = super().to_internal_value(data)
        by_filter = any(name in data for name in CHOOSING)
        if by_filter == ("inference_ids" in fields):
            raise invalid("Either ids, or filters, filter or query.", "inference_ids")
        return fields


class DoneSerializer(serializers.Serializer[Any]):
    count = serializers.IntegerField()
    dry_run = serializers.BooleanField()
    more = serializers.BooleanField(help_text="Whether the same call finds more.")


class DeletedView(StoreView):
    """The soft-deleted inferences of a model, by the time they happened, newest first."""

    needs: ClassVar = {"GET": Role.ADMINISTRATOR, "POST": Role.ADMINISTRATOR}

    @extend_schema(
        operation_id="list_deleted_inferences",
        responses={200: DeletedPageSerializer, **PROBLEMS},
    )
    def get(self, request: Request, model_id: str) -> Response:
        model = self.registered_model(model_id)
        filters = read_filters(request, also=("limit", "cursor"))
        given: dict[str, Any] = {
            name: request.query_params[name]
            for name in ("limit", "cursor")
            if name in request.query_params
        }
        if given.get("limit", "").isdecimal() and len(given["limit"]) < 10:
            given["limit"] = int(given["limit"])
        wanted = DeletedQuerySerializer.parse(given)
        return self._page(model, filters, wanted)

    def _page(
        self, model: RegisteredModel, filters: Filter | None, wanted: dict[str, Any]
    ) -> Response:
        with statement_timeout():
            found = soft_deletion.page(
                model, filters, wanted["limit"], _place(wanted.get("cursor"))
            )
        rows = DeletedInferenceSerializer(found.inferences, many=True).data
        following = None if found.next is None else str(found.next)
        return Response({"results": rows, "next": following})


class FilterDeletedView(DeletedView):
    """The soft-deleted inferences that match."""

    http_method_names = ["post", "options"]

    @extend_schema(
        operation_id="filter_deleted_inferences",
        request=DeletedQuerySerializer,
        responses={200: DeletedPageSerializer, **PROBLEMS},
    )
    def post(self, request: Request, model_id: str) -> Response:
        model = self.registered_model(model_id)
        wanted = DeletedQuerySerializer.parse(request.data)
        return self._page(model, wanted.get("filters"), wanted)


class ChangeDeletedView(StoreView):
    """Does something to soft-deleted inferences, by ids or by a filter."""

    needs: ClassVar = {"POST": Role.ADMINISTRATOR}

    def do(self, model: RegisteredModel, chosen: Chosen) -> Done:
        raise NotImplementedError

    def answer(self, request: Request, model_id: str) -> Response:
        model = self.registered_model(model_id)
        wanted = ChosenSerializer.parse(request.data)

        def chosen() -> Any:
            if "inference_ids" in wanted:
                return soft_deletion.find_soft_deleted(model, wanted["inference_ids"])
            return soft_deletion.soft_deleted(model, wanted["filters"])

        if wanted["dry_run"]:
            with statement_timeout():
                done = Done(chosen().count())
        else:
            done = self.do(model, chosen)
        return Response(
            {"count": done.count, "dry_run": wanted["dry_run"], "more": done.more}
        )


class RestoreView(ChangeDeletedView):
    """Bring soft-deleted inferences back."""

    def do(self, model: RegisteredModel, chosen: Chosen) -> Done:
        return soft_deletion.restore(self.caller, model, chosen)

    @extend_schema(
        operation_id="restore_inferences",
        request=ChosenSerializer,
        responses={200: DoneSerializer, **PROBLEMS},
    )
    def post(self, request: Request, model_id: str) -> Response:
        return self.answer(request, model_id)


class RemoveDeletedView(ChangeDeletedView):
    """Remove soft-deleted inferences for good; nobody restores them after the answer."""

    def do(self, model: RegisteredModel, chosen: Chosen) -> Done:
        done = soft_deletion.intend_removal(self.caller, model, chosen)
        notify_removals(model.pk)
        return done

    @extend_schema(
        operation_id="remove_deleted_inferences",
        request=ChosenSerializer,
        responses={200: DoneSerializer, **PROBLEMS},
    )
    def post(self, request: Request, model_id: str) -> Response:
        return self.answer(request, model_id)


def _place(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    try:
        place = int(cursor)
    except ValueError:
        place = 2**63
    if not -(2**63) <= place < 2**63:
        raise Invalid("This is not a cursor of this store.", "cursor")
    return place
