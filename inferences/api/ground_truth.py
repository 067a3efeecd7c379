"""What came true: of one inference, of many from a file, and what still waits."""

from __future__ import annotations

import tempfile
from typing import IO, Any

from django.conf import settings
from django.http import Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiParameter,
    extend_schema,
    extend_schema_field,
)
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from inferences.api.creating import AnyParser
from inferences.ground_truth import file_tasks
from inferences.ground_truth.answers import reason_of_no_verdict
from inferences.ground_truth.files import (
    NAMES,
    Options,
    form_of,
    rows_of,
    unpacked,
)
from inferences.ground_truth.joining import join
from inferences.ground_truth.labels import Labels
from inferences.ground_truth.references import INFERENCE, Reference
from inferences.ground_truth.truths import read_truth
from inferences.ground_truth.upsert import (
    counts,
    find_truth,
    history,
    put_truth,
    remove_truth,
)
from inferences.models import RegisteredModel
from inferences.models.ground_truth import GroundTruth, PendingTruth, TruthFile
from inferences.store.api.scoped_views import StoreView
from istore.api.fields import MomentField
from istore.api.problems import Problem
from istore.api.schema import PROBLEMS
from istore.api.tasks import ShowTaskView, StopTaskView, TaskView, operation
from istore.db.statement_timeout import statement_timeout
from istore.errors import BadInput, Invalid, TooLarge
from istore.models import AuditEntry
from istore.tasks.paging import find_task
from istore.tasks.tracking import TaskState

CHUNK = 256 * 1024
PENDING_SHOWN = 1000

TRUTH = {
    "type": "object",
    "description": "One of labels (or label), value, values, series, boxes, polygons, "
    "entities, relevance and text, as fits the model's task. See docs/ground-truth.md.",
}


class TruthSerializer(serializers.Serializer[Any]):
    inference_id = serializers.CharField()
    state = serializers.ChoiceField(["joined", "waiting"])
    ground_truth = serializers.DictField()
    agrees = serializers.BooleanField(
        allow_null=True, help_text="Whether the answer agrees; null: not to be said."
    )
    reason = serializers.CharField(
        required=False, help_text="Why it is not to be said whether the answer agrees."
    )
    actor = serializers.CharField(required=False)
    set_at = MomentField(required=False)


class GroundTruthView(StoreView):
    """The actual of one inference."""

    @extend_schema(
        operation_id="get_ground_truth",
        responses={200: TruthSerializer, **PROBLEMS},
    )
    def get(self, request: Request, model_id: str, inference_id: str) -> Response:
        model = self.registered_model(model_id)
        found = find_truth(model, inference_id)
        if found is None:
            raise Http404
        return Response(_describe(model, inference_id, found))

    @extend_schema(
        operation_id="put_ground_truth",
        request={"application/json": TRUTH},
        responses={200: TruthSerializer, 202: TruthSerializer, **PROBLEMS},
    )
    def put(self, request: Request, model_id: str, inference_id: str) -> Response:
        """202: the inference is not here yet, and the actual waits for it."""
        model = self.registered_model(model_id)
        try:
            Reference(INFERENCE, inference_id)
        except ValueError as error:
            raise Invalid(str(error), "inference_id") from None
        truth = read_truth(request.data, model.task_type, Labels.of(model))
        found = put_truth(self.caller, model, inference_id, truth)
        if found is None:
            content = {
                "inference_id": inference_id,
                "state": "waiting",
                "ground_truth": truth,
                "agrees": None,
            }
            return Response(content, status=202)
        return Response(_describe(model, inference_id, found))

    @extend_schema(
        operation_id="delete_ground_truth",
        responses={200: OpenApiTypes.OBJECT, **PROBLEMS},
    )
    def delete(self, request: Request, model_id: str, inference_id: str) -> Response:
        model = self.registered_model(model_id)
        try:
            gone = remove_truth(self.caller, model, inference_id)
        except ValueError:
            gone = False
        if not gone:
            raise Http404
        return Response({"inference_id": inference_id})


def _describe(
    model: RegisteredModel, inference_id: str, found: GroundTruth
) -> dict[str, Any]:
    reason = {}
    if found.agrees is None:
        reason["reason"] = reason_of_no_verdict(model, found.id, found.truth)
    return {
        **reason,
        "inference_id": inference_id,
        "state": "joined",
        "ground_truth": found.truth,
        "agrees": found.agrees,
        "actor": found.actor,
        "set_at": MomentField().to_representation(found.set_at),
    }


class VersionSerializer(serializers.Serializer[Any]):
    ground_truth = serializers.DictField(source="truth")
    actor = serializers.CharField()
    set_at = MomentField()
    replaced_by = serializers.CharField(help_text="Empty while it stands.")
    until = MomentField(allow_null=True)
    is_removal = serializers.BooleanField(help_text="Removed, not replaced.")


class VersionsSerializer(serializers.Serializer[Any]):
    results = VersionSerializer(many=True)


class GroundTruthHistoryView(StoreView):
    """Every actual that an inference had, the first first, the present one last."""

    @extend_schema(
        operation_id="get_ground_truth_history",
        responses={200: VersionsSerializer, **PROBLEMS},
    )
    def get(self, request: Request, model_id: str, inference_id: str) -> Response:
        inference = self.inference(model_id, inference_id)
        found = history(inference.registered_model, inference.id)
        return Response({"results": VersionSerializer(found, many=True).data})


class RefusalSerializer(serializers.Serializer[Any]):
    place = serializers.CharField()
    why = serializers.CharField()


class JoinedSerializer(serializers.Serializer[Any]):
    actuals = serializers.IntegerField(help_text="That were read.")
    joined = serializers.IntegerField(help_text="Inferences that these actuals mean.")
    changed = serializers.IntegerField(help_text="Of which had none or another before.")
    waiting = serializers.IntegerField(help_text="Actuals whose inference is not here.")
    removed = serializers.IntegerField(help_text="Actuals of removed inferences.")
    refused = serializers.IntegerField()
    refusals = RefusalSerializer(many=True, help_text="The first hundred.")


class TruthFileSerializer(serializers.Serializer[Any]):
    """A file that a worker joins. ``joined`` is there when it is complete."""

    id = serializers.CharField()
    model_id = serializers.CharField(source="registered_model.model_id")
    state = serializers.ChoiceField(TaskState.choices)
    reason = serializers.CharField(help_text="Why it failed or stopped.")
    form = serializers.CharField()
    size = serializers.IntegerField(help_text="Of the file, in bytes.")
    expected_count = serializers.IntegerField(help_text="Rows; at most, while it runs.")
    progress_count = serializers.IntegerField(help_text="Rows that were read.")
    rate = serializers.FloatField(allow_null=True, help_text="Rows a second.")
    seconds_left = serializers.FloatField(allow_null=True)
    joined = serializers.SerializerMethodField()
    created_by = serializers.CharField()
    created_at = MomentField()
    started_at = MomentField(allow_null=True)
    finished_at = MomentField(allow_null=True)

    @extend_schema_field(JoinedSerializer(allow_null=True))
    def get_joined(self, task: TruthFile) -> dict[str, Any] | None:
        return {**task.counts, "refusals": task.refusals} if task.counts else None


class TruthFilesSerializer(serializers.Serializer[Any]):
    results = TruthFileSerializer(many=True)


class CountsSerializer(serializers.Serializer[Any]):
    given = serializers.IntegerField()
    agrees = serializers.IntegerField()
    differs = serializers.IntegerField()
    waiting = serializers.IntegerField()


OPTIONS = [
    OpenApiParameter(
        "delimiter",
        str,
        enum=["comma", "semicolon", "tab", "bar"],
        description="Of a table of text, else told by its first line.",
    ),
    OpenApiParameter(
        "missing",
        str,
        description="Words between commas that are gaps in a table of text, instead of "
        "NaN, NA, None, null and their like; empty: none.",
    ),
    OpenApiParameter(
        "ignore_unknown", bool, description="Skip columns and members of other names."
    ),
    OpenApiParameter(
        "join_by",
        str,
        description="Of annotations: inference_id, data_hash or metadata.<key>.",
    ),
]


class GroundTruthsView(StoreView):
    """Many actuals at once, from a file of any of the forms."""

    parser_classes = (AnyParser,)
    takes_files = True

    @extend_schema(
        operation_id="count_ground_truth", responses={200: CountsSerializer, **PROBLEMS}
    )
    def get(self, request: Request, model_id: str) -> Response:
        model = self.registered_model(model_id)
        with statement_timeout():
            return Response(counts(model))

    @extend_schema(
        operation_id="join_ground_truth",
        parameters=[
            OpenApiParameter(
                "form", str, enum=list(NAMES), description="Else by the content type."
            ),
            *OPTIONS,
        ],
        request={
            "application/x-ndjson": OpenApiTypes.STR,
            "text/csv": OpenApiTypes.STR,
            "application/vnd.apache.parquet": OpenApiTypes.BINARY,
        },
        responses={200: JoinedSerializer, 202: TruthFileSerializer, **PROBLEMS},
    )
    def post(self, request: Request, model_id: str) -> Response:
        """202: the file is large, and a worker joins it; the answer is its task."""
        model = self.registered_model(model_id)
        form = self._form(request)
        options = Options.read(request.query_params)
        with tempfile.TemporaryFile() as sent:
            _receive(request, sent)
            with unpacked(sent, settings.ISTORE_UPLOAD_MAX_BYTES) as file:
                rows = file_tasks.count_rows(file, form)
                if rows > settings.ISTORE_TRUTHS_AT_ONCE:
                    task = file_tasks.keep_file(
                        self.caller, model, file, form, rows, options
                    )
                    return Response(TruthFileSerializer(task).data, status=202)
                told = join(self.caller, model, rows_of(file, form, model, options))
        return Response(JoinedSerializer(told).data)

    def _form(self, request: Request) -> str:
        form = request.query_params.get("form")
        if form is None:
            form = form_of((request.content_type or "").partition(";")[0].strip())
            if form is None:
                detail = f"The body is one of {', '.join(NAMES)}: say ?form=."
                raise Problem(415, "unsupported-media-type", detail)
        if form not in NAMES:
            raise Invalid(f"One of {', '.join(NAMES)}.", "form")
        return form


def _receive(request: Request, file: IO[bytes]) -> None:
    """The body on disk: it may be larger than memory has room for."""
    size, stream = 0, request._request
    while chunk := stream.read(CHUNK):
        size += len(chunk)
        if size > settings.ISTORE_UPLOAD_MAX_BYTES:
            detail = f"A file has at most {settings.ISTORE_UPLOAD_MAX_BYTES} bytes."
            raise TooLarge("body-too-large", detail)
        file.write(chunk)
    if not size:
        raise BadInput("empty-upload", "The body is empty.")
    file.seek(0)


class PendingSerializer(serializers.Serializer[Any]):
    awaited = serializers.CharField()
    ground_truth = serializers.DictField(source="truth")
    actor = serializers.CharField()
    set_at = MomentField()


class PendingListSerializer(serializers.Serializer[Any]):
    results = PendingSerializer(many=True)
    count = serializers.IntegerField(help_text="Of all; the first thousand are listed.")


class PendingView(StoreView):
    """Actuals that wait for their inference, the oldest first."""

    @extend_schema(
        operation_id="list_pending_ground_truth",
        responses={200: PendingListSerializer, **PROBLEMS},
    )
    def get(self, request: Request, model_id: str) -> Response:
        model = self.registered_model(model_id)
        waiting = PendingTruth.objects.filter(registered_model=model).order_by("id")
        with statement_timeout():
            count, first = waiting.count(), list(waiting[:PENDING_SHOWN])
        content = {"results": PendingSerializer(first, many=True).data, "count": count}
        return Response(content)

    @extend_schema(
        operation_id="delete_pending_ground_truth",
        parameters=[
            OpenApiParameter("awaited", str, required=True, description="As listed.")
        ],
        responses={200: OpenApiTypes.OBJECT, **PROBLEMS},
    )
    def delete(self, request: Request, model_id: str) -> Response:
        model = self.registered_model(model_id)
        awaited = request.query_params.get("awaited")
        if not awaited:
            raise Invalid("This parameter is required.", "awaited", code="required")
        waiting = PendingTruth.objects.filter(registered_model=model, awaited=awaited)
        if not waiting.delete()[0]:
            raise Http404
        AuditEntry.write(self.caller, "ground_truth.delete", awaited, model.project)
        return Response({"awaited": awaited})


class TruthFilesView(StoreView):
    """Files of actuals that a worker joins or has joined, the last fifty."""

    @extend_schema(
        operation_id="list_ground_truth_files",
        responses={200: TruthFilesSerializer, **PROBLEMS},
    )
    def get(self, request: Request, model_id: str) -> Response:
        found = file_tasks.recent_files(self.registered_model(model_id))
        return Response({"results": TruthFileSerializer(found, many=True).data})


class OneTruthFile(StoreView, TaskView):
    """A view of one file."""

    serializer = TruthFileSerializer

    def task(self, model_id: str, task_id: str) -> TruthFile:
        return find_task(self.registered_model(model_id).truth_files, task_id)


@operation("get_ground_truth_file")
class TruthFileView(OneTruthFile, ShowTaskView):
    """How far a file is, and in the end what became of its rows."""


@operation("stop_ground_truth_file")
class StopTruthFileView(OneTruthFile, StopTaskView):
    """What was written stays; a task that has ended stays as it is."""
