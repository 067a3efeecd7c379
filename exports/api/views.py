"""The REST API of exports: each view parses, calls a function, and answers."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.http import Http404, HttpResponseBase
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from exports import task_lifecycle
from exports.api.serializers import (
    ExportTaskSerializer,
    ExportTasksQuerySerializer,
    ExportTasksSerializer,
    FormatsSerializer,
    NewExportTaskSerializer,
)
from exports.formats import FORMATS
from exports.listing import NEWEST_FIRST, TaskQuery, page_of
from exports.models import CONTENT_TYPES, ExportTask
from inferences.models import RegisteredModel
from inferences.previews.media import serve
from inferences.store.scoped_views import StoreView
from istore.api.problems import invalid
from istore.api.schema import PROBLEMS
from istore.models import Role
from istore.tasks.paging import BadCursor


class FormatsView(StoreView):
    """What an archive can be."""

    @extend_schema(
        operation_id="list_export_formats",
        responses={200: FormatsSerializer, **PROBLEMS},
    )
    def get(self, request: Request) -> Response:
        content = {"results": list(FORMATS.values()), "next": None}
        return Response(FormatsSerializer(content).data)


class ExportTasksView(StoreView):
    """The export tasks of a model, newest first; opening another."""

    PARAMETERS = ("state", "format", "direction", "limit", "cursor")

    @extend_schema(
        operation_id="list_export_tasks",
        parameters=[OpenApiParameter(name, str) for name in PARAMETERS],
        responses={200: ExportTasksSerializer, **PROBLEMS},
    )
    def get(self, request: Request, model_id: str) -> Response:
        model = self.registered_model(model_id)
        return _page(model, self._asked(request))

    def _asked(self, request: Request) -> dict[str, Any]:
        given = request.query_params
        for name in given:
            if name not in self.PARAMETERS:
                message = "There is no such parameter."
                raise invalid(message, name, code="unknown-parameter")
        names = ("direction", "limit", "cursor")
        page: dict[str, Any] = {n: given[n] for n in names if n in given}
        page.setdefault("direction", NEWEST_FIRST)
        if (limit := page.get("limit", "")).isdecimal() and len(limit) < 12:
            page["limit"] = int(limit)
        return {
            "state_filter": given.get("state"),
            "format_filter": given.get("format"),
            "pagination": page,
        }

    @extend_schema(
        operation_id="create_export_task",
        request=NewExportTaskSerializer,
        responses={201: ExportTaskSerializer, **PROBLEMS},
    )
    def post(self, request: Request, model_id: str) -> Response:
        model = self.registered_model(model_id)
        wanted = NewExportTaskSerializer.parse(request.data)
        task = task_lifecycle.open_task(self.caller, model, wanted)
        return Response(ExportTaskSerializer(task).data, status=201)


class FilterExportTasksView(StoreView):
    """The same list, asked for by a body."""

    needs: ClassVar = {"POST": Role.VIEWER}

    @extend_schema(
        operation_id="filter_export_tasks",
        request=ExportTasksQuerySerializer,
        responses={200: ExportTasksSerializer, **PROBLEMS},
    )
    def post(self, request: Request, model_id: str) -> Response:
        return _page(self.registered_model(model_id), request.data)


def _page(model: RegisteredModel, body: Any) -> Response:
    query = TaskQuery.of(ExportTasksQuerySerializer.parse(body))
    try:
        tasks, following = page_of(model, query)
    except BadCursor as error:
        raise invalid(str(error), "pagination", "cursor") from None
    content = {"results": tasks, "next": following}
    return Response(ExportTasksSerializer(content).data)


class TaskView(StoreView):
    """A view of one task."""

    def task(self, model_id: str, task_id: str) -> ExportTask:
        model = self.registered_model(model_id)
        try:
            found = model.export_tasks.filter(pk=uuid.UUID(task_id)).first()
        except ValueError:
            found = None
        if found is None:
            raise Http404
        found.model = model
        return found


class ExportTaskView(TaskView):
    """One task as it is now."""

    @extend_schema(
        operation_id="get_export_task",
        responses={200: ExportTaskSerializer, **PROBLEMS},
    )
    def get(self, request: Request, model_id: str, task_id: str) -> Response:
        return Response(ExportTaskSerializer(self.task(model_id, task_id)).data)


class StopExportTaskView(TaskView):
    """Ends a task where it is; it leaves nothing behind."""

    @extend_schema(
        operation_id="stop_export_task",
        request=None,
        responses={200: ExportTaskSerializer, **PROBLEMS},
    )
    def post(self, request: Request, model_id: str, task_id: str) -> Response:
        task = self.task(model_id, task_id)
        task_lifecycle.stop(self.caller, task)
        return Response(ExportTaskSerializer(task).data)


class RetryExportTaskView(TaskView):
    """Begins again with a task that failed or was stopped, with the set it had."""

    @extend_schema(
        operation_id="retry_export_task",
        request=None,
        responses={200: ExportTaskSerializer, **PROBLEMS},
    )
    def post(self, request: Request, model_id: str, task_id: str) -> Response:
        task = self.task(model_id, task_id)
        task_lifecycle.retry(self.caller, task)
        return Response(ExportTaskSerializer(task).data)


class ArchiveView(TaskView):
    """The archive itself, or the range of it that is asked for."""

    @extend_schema(
        operation_id="get_export_archive",
        responses={(200, "*/*"): bytes, **PROBLEMS},
    )
    def get(self, request: Request, model_id: str, task_id: str) -> HttpResponseBase:
        task = self.task(model_id, task_id)
        if not task.has_archive:
            raise Http404
        return serve(
            request, task.archive_key, CONTENT_TYPES[task.container], task.filename
        )
