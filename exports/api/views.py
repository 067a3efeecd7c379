"""The REST API of exports: each view parses, calls a function, and answers."""

from __future__ import annotations

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
from exports.models import CONTENT_TYPES, ExportTask
from inferences.models import RegisteredModel
from inferences.previews.media import serve
from inferences.store.api.scoped_views import StoreView
from istore.api.schema import PROBLEMS
from istore.api.tasks import (
    PAGE_PARAMETERS,
    ResumeTaskView,
    ShowTaskView,
    StopTaskView,
    TaskView,
    operation,
    page_response,
    read_list_parameters,
    task_query,
)
from istore.models import Role
from istore.tasks.paging import find_task

FILTERS = ("state", "format")


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

    @extend_schema(
        operation_id="list_export_tasks",
        parameters=[OpenApiParameter(n, str) for n in (*FILTERS, *PAGE_PARAMETERS)],
        responses={200: ExportTasksSerializer, **PROBLEMS},
    )
    def get(self, request: Request, model_id: str) -> Response:
        model = self.registered_model(model_id)
        return _page(model, read_list_parameters(request, FILTERS))

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
    fields, tasks = ExportTasksQuerySerializer.parse(body), model.export_tasks.all()
    if wanted := fields.get("format_filter"):
        tasks = tasks.filter(format=wanted)
    query = task_query(fields)
    return page_response(tasks, query, ExportTasksSerializer, "pagination")


class OneExportTask(StoreView, TaskView):
    """A view of one task."""

    serializer = ExportTaskSerializer

    def task(self, model_id: str, task_id: str) -> ExportTask:
        return find_task(self.registered_model(model_id).export_tasks, task_id)


@operation("get_export_task")
class ExportTaskView(OneExportTask, ShowTaskView):
    """One task as it is now."""


@operation("stop_export_task")
class StopExportTaskView(OneExportTask, StopTaskView):
    """Ends a task where it is; it leaves nothing behind."""

    ended_code = "task-already-ended"


@operation("retry_export_task")
class RetryExportTaskView(OneExportTask, ResumeTaskView):
    """Begins again with a task that failed or was stopped, with the set it had."""

    resume = staticmethod(task_lifecycle.retry)


class ArchiveView(OneExportTask):
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
