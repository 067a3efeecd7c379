"""Views of tracked tasks: their list, one of them, stop and resume.

A kind of tasks has a ``TaskView`` that finds its tasks, and what is done with one of them is a
view of that and of one of these:
``@operation("stop_export_task") class StopExportTaskView(OneExportTask, StopTaskView)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, TypeVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.views import APIView

from istore.accounts.access import caller_of
from istore.api.schema import PROBLEMS
from istore.errors import Conflict, Invalid
from istore.tasks import control
from istore.tasks.paging import BadCursor, TaskQuery
from istore.tasks.tracking import TrackedTask

PAGE_PARAMETERS = ("direction", "limit", "cursor")


class TaskView(APIView):
    """A view of one task."""

    serializer: ClassVar[type[BaseSerializer[Any]]]

    def task(self, *args: Any, **place: Any) -> TrackedTask:
        """Return the task that the path names, for a caller who may see it."""
        raise NotImplementedError

    def _answer(self, task: TrackedTask) -> Response:
        return Response(self.serializer(task).data)


class ShowTaskView(TaskView):
    """Answers with a task as it is now."""

    def get(self, request: Request, **place: str) -> Response:
        return self._answer(self.task(**place))


class StopTaskView(TaskView):
    """Stops a task; what is done stays done.

    ``ended_code`` is the code of the 409 for a task that has ended. Without one, such a task is
    answered as it is.
    """

    http_method_names = ["post", "options"]
    ended_code: ClassVar[str] = ""

    def post(self, request: Request, **place: str) -> Response:
        task = self.task(**place)
        if not control.stop(caller_of(request), task) and self.ended_code:
            message = f"The task has ended already: {task.state}."
            raise Conflict(self.ended_code, message)
        return self._answer(task)


class ResumeTaskView(TaskView):
    """Lets a task go on that failed or was stopped; any other is a 409 ``task-not-ended``."""

    http_method_names = ["post", "options"]

    @staticmethod
    def resume(actor: object, task: Any) -> bool:
        """Resume the task; a kind that has conditions of its own replaces this."""
        return control.resume(actor, task)

    def post(self, request: Request, **place: str) -> Response:
        task = self.task(**place)
        if not self.resume(caller_of(request), task):
            message = f"Only a task that failed or was stopped goes on: {task.state}."
            raise Conflict("task-not-ended", message)
        return self._answer(task)


View = TypeVar("View", bound=TaskView)


def operation(operation_id: str) -> Callable[[type[View]], type[View]]:
    """Describe the one operation of a view in the OpenAPI document."""

    def describe(view: type[View]) -> type[View]:
        method = "post" if "post" in view.http_method_names[:1] else "get"
        responses = {200: view.serializer, **PROBLEMS}
        described = extend_schema(
            operation_id=operation_id, request=None, responses=responses
        )
        return extend_schema_view(**{method: described})(view)

    return describe


def read_list_parameters(
    request: Request, filters: Iterable[str] = ("state",)
) -> dict[str, Any]:
    """Return the parameters of a list as the body that its ``…/filter`` takes; newest first.

    Raises a 400 for parameters that are neither of a page nor among the filters.
    """
    given = request.query_params
    for name in given:
        if name not in (*filters, *PAGE_PARAMETERS):
            message = "There is no such parameter."
            raise Invalid(message, name, code="unknown-parameter")
    page: dict[str, Any] = {n: given[n] for n in PAGE_PARAMETERS if n in given}
    page.setdefault("direction", "desc")
    if (limit := page.get("limit", "")).isdecimal() and len(limit) < 12:
        page["limit"] = int(limit)
    return {f"{n}_filter": given.get(n) for n in filters} | {"pagination": page}


def task_query(fields: Mapping[str, Any]) -> TaskQuery:
    """Return the query of the fields ``state_filter``, ``time_window_filter``, ``pagination``."""
    asked: dict[str, Any] = {"newest_first": False}
    if window := fields.get("time_window_filter"):
        asked |= {"start": window.start, "end": window.end}
    if page := fields.get("pagination"):
        asked["newest_first"] = page.direction == "desc"
        asked |= {n: getattr(page, n) for n in ("limit", "offset", "cursor")}
    return TaskQuery(fields.get("state_filter"), **asked)


def page_response(
    tasks: QuerySet[Any],
    query: TaskQuery,
    serializer: type[BaseSerializer[Any]],
    *path: str,
) -> Response:
    """Return the page of the query; ``path`` leads to the field with the cursor."""
    try:
        page, following = query.page(tasks)
    except BadCursor as error:
        raise Invalid(str(error), *path, "cursor") from None
    return Response(serializer({"results": page, "next": following}).data)
