"""The REST API of scheduled exports."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.http import Http404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from exports.schedules import destinations, lifecycle
from exports.schedules.models import (
    INTERVAL_MOST,
    ExportedFile,
    ExportFormat,
    ExportSchedule,
    ExportShape,
    ScheduledExport,
)
from inferences.search.api.filter_serializers import FilteredSerializer
from inferences.store.api.scoped_views import StoreView
from istore.api.fields import FlagField, MomentField, TextField, WholeField
from istore.api.schema import PROBLEMS
from istore.api.serializers import StrictSerializer, invalid
from istore.db.clock import now
from istore.errors import Invalid
from istore.models import Role
from istore.tasks.paging import BadCursor, TaskQuery
from istore.tasks.tracking import TaskState

ON_A_PAGE = 100
CURSOR = OpenApiParameter("cursor", str)
TABLE = OpenApiParameter(
    "table",
    str,
    enum=list(lifecycle.TableFate),
    description="keep (default): its table of the lake stays; drop: it goes with its files.",
)


class FilterOfScheduleSerializer(FilteredSerializer):
    """What goes out, hour by hour: no part of it may mean everything unsaid."""

    is_change = True


class ChangeSerializer(StrictSerializer):
    """What of a schedule may be changed; a place and a shape are for good."""

    name = TextField(max_length=100, allow_blank=False, required=False)
    interval_hours = WholeField(
        min_value=1, max_value=INTERVAL_MOST, required=False, help_text="From 1."
    )
    enabled = FlagField(required=False)
    selection = serializers.JSONField(required=False, help_text="filter or query.")
    keeps_removed = FlagField(
        required=False,
        help_text="Of the lake: whether rows stay whose records the store removed.",
    )

    def validate_name(self, name: str) -> str:
        if not name.strip() or not name.isprintable():
            raise serializers.ValidationError("One to 100 characters on one line.")
        return name

    def validate_selection(self, selection: Any) -> dict[str, Any]:
        if not isinstance(selection, dict):
            raise invalid("An object is expected.")
        FilterOfScheduleSerializer.parse_member(selection)  # only for its errors
        return selection


class NewScheduleSerializer(ChangeSerializer):
    name = TextField(max_length=100, allow_blank=False)
    format = serializers.ChoiceField(ExportFormat.choices, required=False)
    shape = serializers.ChoiceField(ExportShape.choices, required=False)
    destination = TextField(max_length=64, required=False)
    prefix = TextField(required=False)
    from_beginning = FlagField(required=False, default=False)

    def validate_destination(self, name: str) -> str:
        if name and name not in destinations.names():
            known = ", ".join(destinations.names()) or "none"
            message = f"No destination of this installation; there are: {known}."
            raise serializers.ValidationError(message)
        return name

    def validate_prefix(self, prefix: str) -> str:
        try:
            destinations.check_prefix(prefix)
        except ValueError as error:
            raise serializers.ValidationError(str(error)) from None
        return prefix

    def validate(self, values: dict[str, Any]) -> dict[str, Any]:
        if values.get("format") == ExportFormat.ICEBERG:
            for name in ("destination", "prefix"):
                if values.get(name):
                    message = "A table of the lake lies in the store's own warehouse."
                    raise serializers.ValidationError({name: message})
        return values


class RunSerializer(serializers.Serializer[Any]):
    """One run as it is now."""

    id = serializers.CharField()
    state = serializers.ChoiceField(TaskState.choices)
    reason = serializers.CharField(allow_null=True)
    arrived_count = serializers.IntegerField(help_text="Arrivals that it looks at.")
    passed_count = serializers.IntegerField()
    inference_count = serializers.IntegerField(help_text="Those that are in files.")
    row_count = serializers.IntegerField()
    file_count = serializers.IntegerField()
    left_out = serializers.DictField(child=serializers.IntegerField())
    created_at = MomentField()
    started_at = MomentField(allow_null=True)
    finished_at = MomentField(allow_null=True)

    def to_representation(self, run: ScheduledExport) -> dict[str, Any]:
        return super().to_representation(run) | {"reason": run.reason or None}


class ScheduleSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    model_id = serializers.CharField(source="model.model_id")
    name = serializers.CharField()
    selection = serializers.JSONField()
    format = serializers.ChoiceField(ExportFormat.choices)
    keeps_removed = serializers.BooleanField()
    table = serializers.SerializerMethodField()
    shape = serializers.ChoiceField(ExportShape.choices)
    interval_hours = serializers.IntegerField()
    destination = serializers.CharField(help_text="Empty: the default store.")
    prefix = serializers.CharField()
    enabled = serializers.BooleanField()
    exported_until = MomentField(allow_null=True)
    lag_seconds = serializers.SerializerMethodField()
    waiting_count = serializers.SerializerMethodField()
    waiting_is_exact = serializers.SerializerMethodField()
    last_error = serializers.CharField(allow_null=True)
    last_error_at = MomentField(allow_null=True)
    row_count = serializers.IntegerField()
    file_count = serializers.IntegerField()
    last_scheduled_at = MomentField(allow_null=True)
    next_at = MomentField(allow_null=True)
    created_by = serializers.CharField()
    created_at = MomentField()
    updated_at = MomentField()

    def get_table(self, schedule: ExportSchedule) -> str | None:
        return lifecycle.table_of(schedule)

    def get_lag_seconds(self, schedule: ExportSchedule) -> float | None:
        return lifecycle.lag(schedule, now())

    def get_waiting_count(self, schedule: ExportSchedule) -> int:
        return min(lifecycle.waiting(schedule), lifecycle.WAITING_MOST)

    def get_waiting_is_exact(self, schedule: ExportSchedule) -> bool:
        return lifecycle.waiting(schedule) <= lifecycle.WAITING_MOST

    def to_representation(self, schedule: ExportSchedule) -> dict[str, Any]:
        told = super().to_representation(schedule)
        return told | {"last_error": schedule.last_error or None}


class FileSerializer(serializers.Serializer[Any]):
    """A file that is whole; a link to it where the default store holds it."""

    key = serializers.CharField()
    date = serializers.DateField()
    row_count = serializers.IntegerField()
    size = serializers.IntegerField()
    sha256 = serializers.CharField()
    committed_at = MomentField()
    presigned_url = serializers.SerializerMethodField()

    def get_presigned_url(self, file: ExportedFile) -> str | None:
        return destinations.link_to(file)


def _list_of(kind: type[serializers.Serializer[Any]], name: str) -> Any:
    fields = {
        "results": kind(many=True),
        "next": serializers.CharField(allow_null=True),
    }
    return type(name, (serializers.Serializer,), fields)


SchedulesSerializer = _list_of(ScheduleSerializer, "SchedulesSerializer")
RunsSerializer = _list_of(RunSerializer, "RunsSerializer")
FilesSerializer = _list_of(FileSerializer, "FilesSerializer")


class DestinationSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(help_text="Empty: the default store.")
    title = serializers.CharField()


DestinationsSerializer = _list_of(DestinationSerializer, "DestinationsSerializer")


class DestinationsView(StoreView):
    """Where scheduled exports may go in this installation."""

    @extend_schema(
        operation_id="list_export_destinations",
        responses={200: DestinationsSerializer, **PROBLEMS},
    )
    def get(self, request: Request) -> Response:
        named = [destinations.DEFAULT, *destinations.names()]
        found = [{"name": name, "title": destinations.title(name)} for name in named]
        return Response({"results": found, "next": None})


class SchedulesView(StoreView):
    """The export schedules of a model; making another."""

    @extend_schema(
        operation_id="list_export_schedules",
        responses={200: SchedulesSerializer, **PROBLEMS},
    )
    def get(self, request: Request, model_id: str) -> Response:
        model = self.registered_model(model_id)
        found = model.export_schedules.select_related("model")
        return Response(
            {"results": ScheduleSerializer(found, many=True).data, "next": None}
        )

    @extend_schema(
        operation_id="create_export_schedule",
        request=NewScheduleSerializer,
        responses={201: ScheduleSerializer, **PROBLEMS},
    )
    def post(self, request: Request, model_id: str) -> Response:
        model = self.registered_model(model_id)
        values = NewScheduleSerializer.parse(request.data)
        schedule = lifecycle.create(self.caller, model, **values)
        return Response(ScheduleSerializer(schedule).data, status=201)


class OneScheduleView(StoreView):
    """A view of one schedule."""

    def schedule(self, model_id: str, schedule_id: str) -> ExportSchedule:
        model = self.registered_model(model_id)
        try:
            wanted = uuid.UUID(schedule_id)
        except ValueError:
            raise Http404 from None
        found = model.export_schedules.filter(pk=wanted).first()
        if found is None:
            raise Http404
        found.model = model
        return found


class ScheduleView(OneScheduleView):
    """One schedule: how far it has come, what it says, its end."""

    @extend_schema(
        operation_id="get_export_schedule",
        responses={200: ScheduleSerializer, **PROBLEMS},
    )
    def get(self, request: Request, model_id: str, schedule_id: str) -> Response:
        return Response(ScheduleSerializer(self.schedule(model_id, schedule_id)).data)

    @extend_schema(
        operation_id="change_export_schedule",
        request=ChangeSerializer,
        responses={200: ScheduleSerializer, **PROBLEMS},
    )
    def patch(self, request: Request, model_id: str, schedule_id: str) -> Response:
        schedule = self.schedule(model_id, schedule_id)
        values = ChangeSerializer.parse(request.data)
        try:
            changed = lifecycle.change(self.caller, schedule, **values)
        except ExportSchedule.DoesNotExist:
            raise Http404 from None
        return Response(ScheduleSerializer(changed).data)

    @extend_schema(
        operation_id="delete_export_schedule",
        parameters=[TABLE],
        responses={204: None, **PROBLEMS},
    )
    def delete(self, request: Request, model_id: str, schedule_id: str) -> Response:
        schedule = self.schedule(model_id, schedule_id)
        if not lifecycle.remove(self.caller, schedule, read_table(request)):
            raise Http404
        return Response(status=204)


class RunScheduleView(OneScheduleView):
    """A run beside the clock."""

    @extend_schema(
        operation_id="run_export_schedule",
        request=None,
        responses={201: RunSerializer, **PROBLEMS},
    )
    def post(self, request: Request, model_id: str, schedule_id: str) -> Response:
        schedule = self.schedule(model_id, schedule_id)
        run = lifecycle.start(self.caller, schedule)
        return Response(RunSerializer(run).data, status=201)


class ScheduledExportsView(OneScheduleView):
    """The latest runs of a schedule, newest first."""

    needs: ClassVar = {"GET": Role.VIEWER}

    @extend_schema(
        operation_id="list_scheduled_exports",
        parameters=[CURSOR],
        responses={200: RunsSerializer, **PROBLEMS},
    )
    def get(self, request: Request, model_id: str, schedule_id: str) -> Response:
        schedule = self.schedule(model_id, schedule_id)
        try:
            runs, following = runs_of(schedule, read_cursor(request))
        except BadCursor as error:
            raise Invalid(str(error), "cursor") from None
        found = RunSerializer(runs, many=True).data
        return Response({"results": found, "next": following})


class ExportedFilesView(OneScheduleView):
    """The files of a schedule that are whole, newest first."""

    @extend_schema(
        operation_id="list_exported_files",
        parameters=[CURSOR],
        responses={200: FilesSerializer, **PROBLEMS},
    )
    def get(self, request: Request, model_id: str, schedule_id: str) -> Response:
        schedule = self.schedule(model_id, schedule_id)
        files, following = files_of(schedule, read_cursor(request))
        found = FileSerializer(files, many=True).data
        return Response({"results": found, "next": following})


def read_cursor(request: Request) -> str | None:
    """Return the query's ``cursor`` or None. Raises a 400 for any other parameter."""
    return _read_only(request, "cursor")


def read_table(request: Request) -> lifecycle.TableFate:
    """Return what becomes of the table. Raises a 400 for another value or parameter."""
    value = _read_only(request, "table")
    try:
        return lifecycle.TableFate(value or lifecycle.TableFate.KEEP)
    except ValueError:
        raise Invalid("keep or drop is expected.", "table") from None


def _read_only(request: Request, parameter: str) -> str | None:
    for name in request.query_params:
        if name != parameter:
            message = "There is no such parameter."
            raise Invalid(message, name, code="unknown-parameter")
    return request.query_params.get(parameter)


def runs_of(
    schedule: ExportSchedule, cursor: str | None = None
) -> tuple[list[ScheduledExport], str | None]:
    """Return a page of runs, newest first, and the cursor of the next. Raises ``BadCursor``."""
    runs = schedule.scheduled_exports.all()
    return TaskQuery(limit=ON_A_PAGE, cursor=cursor).page(runs)


def files_of(
    schedule: ExportSchedule, cursor: str | None = None
) -> tuple[list[ExportedFile], str | None]:
    """Return a page of committed files, newest first, and the cursor of the next.

    Raises a 400 for a malformed cursor.
    """
    whole = schedule.exported_files.filter(committed_at__isnull=False)
    if cursor is not None:
        if not (cursor.isdecimal() and len(cursor) < 19):
            raise Invalid("This is not a cursor of this store.", "cursor")
        whole = whole.filter(pk__lt=int(cursor))
    found = list(whole.order_by("-pk")[: ON_A_PAGE + 1])
    page = found[:ON_A_PAGE]
    return page, str(page[-1].pk) if len(found) > ON_A_PAGE else None
