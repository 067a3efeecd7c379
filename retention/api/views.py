"""The REST API of retention: each view parses, calls a function, and answers."""

from __future__ import annotations

from typing import Any, ClassVar

from django.http import Http404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from inferences.models import RegisteredModel
from inferences.search.pagination import Pagination
from inferences.store.api.scoped_views import StoreView
from istore.api.schema import PROBLEMS
from istore.db import clock
from istore.errors import Conflict, Invalid
from istore.models import Role
from istore.tasks.paging import BadCursor
from retention import policies
from retention.api.serializers import (
    DeletedPolicySerializer,
    NewRetentionPolicySerializer,
    NewRetentionTaskSerializer,
    RetentionPolicySerializer,
    RetentionPreviewQuerySerializer,
    RetentionPreviewSerializer,
    RetentionTaskSerializer,
    RetentionTasksQuerySerializer,
    RetentionTasksSerializer,
)
from retention.listing import TaskQuery, uuid_of
from retention.models import RetentionPolicy, RetentionTask
from retention.surveying import survey_in_time


def policy_of(model: RegisteredModel, policy_id: str | None = None) -> RetentionPolicy:
    """Return the model's policy. Raises ``Http404`` if there is none, or not with this id."""
    found = RetentionPolicy.objects.filter(model=model)
    if policy_id is not None:
        known = uuid_of(policy_id)
        found = found.filter(pk=known) if known else found.none()
    policy = found.first()
    if policy is None:
        raise Http404
    policy.model = model
    return policy


class RetentionPolicyView(StoreView):
    """The policy of a model; giving it one."""

    @extend_schema(
        operation_id="get_retention_policy",
        responses={200: RetentionPolicySerializer, **PROBLEMS},
    )
    def get(self, request: Request, model_id: str) -> Response:
        policy = policy_of(self.registered_model(model_id))
        return Response(RetentionPolicySerializer(policy).data)

    @extend_schema(
        operation_id="create_retention_policy",
        request=NewRetentionPolicySerializer,
        responses={201: RetentionPolicySerializer, **PROBLEMS},
    )
    def post(self, request: Request, model_id: str) -> Response:
        model = self.registered_model(model_id)
        values = NewRetentionPolicySerializer.parse(request.data)
        policy = policies.create_policy(self.caller, model, **values)
        return Response(RetentionPolicySerializer(policy).data, status=201)


class OneRetentionPolicyView(StoreView):
    """The policy by its id: changing it, taking it away."""

    @extend_schema(
        operation_id="replace_retention_policy",
        request=NewRetentionPolicySerializer,
        responses={200: RetentionPolicySerializer, **PROBLEMS},
    )
    def put(self, request: Request, model_id: str, policy_id: str) -> Response:
        policy = policy_of(self.registered_model(model_id), policy_id)
        values = NewRetentionPolicySerializer.parse(request.data)
        changed = policies.change_policy(self.caller, policy, **values)
        if changed is None:
            raise Http404
        return Response(RetentionPolicySerializer(changed).data)

    @extend_schema(
        operation_id="delete_retention_policy",
        responses={200: DeletedPolicySerializer, **PROBLEMS},
    )
    def delete(self, request: Request, model_id: str, policy_id: str) -> Response:
        policy = policy_of(self.registered_model(model_id), policy_id)
        if not policies.delete_policy(self.caller, policy):
            raise Http404
        return Response({"id": policy_id})


class RetentionPreviewView(StoreView):
    """What a policy would remove now. Nothing is written."""

    needs: ClassVar = {"POST": Role.VIEWER}

    @extend_schema(
        operation_id="preview_retention",
        request=RetentionPreviewQuerySerializer,
        responses={200: RetentionPreviewSerializer, **PROBLEMS},
    )
    def post(self, request: Request, model_id: str) -> Response:
        model = self.registered_model(model_id)
        values = RetentionPreviewQuerySerializer.parse(request.data)
        limits = RetentionPolicy(**values).limits(clock.now())
        found = survey_in_time(model, limits)
        return Response(RetentionPreviewSerializer.telling(limits, found).data)


class RetentionTasksView(StoreView):
    """The tasks of a model, newest first; starting one."""

    PARAMETERS = ("state", "direction", "limit", "cursor")

    @extend_schema(
        operation_id="list_retention_tasks",
        parameters=[OpenApiParameter(name, str) for name in PARAMETERS],
        responses={200: RetentionTasksSerializer, **PROBLEMS},
    )
    def get(self, request: Request, model_id: str) -> Response:
        model = self.registered_model(model_id)
        return _page(model, self._asked(request))

    def _asked(self, request: Request) -> dict[str, Any]:
        given = request.query_params
        for name in given:
            if name not in self.PARAMETERS:
                message = "There is no such parameter."
                raise Invalid(message, name, code="unknown-parameter")
        page: dict[str, Any] = {
            name: given[name] for name in self.PARAMETERS[1:] if name in given
        }
        page.setdefault("direction", "desc")
        if (limit := page.get("limit", "")).isdecimal() and len(limit) < 12:
            page["limit"] = int(limit)
        return {"state_filter": given.get("state"), "pagination": page}

    @extend_schema(
        operation_id="create_retention_task",
        request=NewRetentionTaskSerializer,
        responses={201: RetentionTaskSerializer, **PROBLEMS},
    )
    def post(self, request: Request, model_id: str) -> Response:
        model = self.registered_model(model_id)
        values = NewRetentionTaskSerializer.parse(request.data)
        policy = policy_of(model, values["retention_policy_id"])
        task = policies.open_task(self.caller, policy, dry_run=values["dry_run"])
        return Response(RetentionTaskSerializer(task).data, status=201)


class FilterRetentionTasksView(StoreView):
    """The tasks of a model by policy, state and time; oldest first unless asked."""

    needs: ClassVar = {"POST": Role.VIEWER}

    @extend_schema(
        operation_id="filter_retention_tasks",
        request=RetentionTasksQuerySerializer,
        responses={200: RetentionTasksSerializer, **PROBLEMS},
    )
    def post(self, request: Request, model_id: str) -> Response:
        return _page(self.registered_model(model_id), request.data)


def _page(model: RegisteredModel, body: Any) -> Response:
    asked = RetentionTasksQuerySerializer.parse(body)
    query = TaskQuery(
        asked.get("retention_policy_id"),
        asked.get("state_filter"),
        asked.get("time_window_filter"),
        asked.get("pagination") or Pagination(),
    )
    try:
        tasks, following = query.page(model)
    except BadCursor as error:
        raise Invalid(str(error), "pagination", "cursor") from None
    content = {"results": tasks, "next": following}
    return Response(RetentionTasksSerializer(content).data)


class RetentionTaskView(StoreView):
    """One task."""

    def task(self, model_id: str, task_id: str) -> RetentionTask:
        model = self.registered_model(model_id)
        known = uuid_of(task_id)
        task = model.retention_tasks.filter(pk=known).first() if known else None
        if task is None:
            raise Http404
        task.model = model
        return task

    @extend_schema(
        operation_id="get_retention_task",
        responses={200: RetentionTaskSerializer, **PROBLEMS},
    )
    def get(self, request: Request, model_id: str, task_id: str) -> Response:
        return Response(RetentionTaskSerializer(self.task(model_id, task_id)).data)


class StopRetentionTaskView(RetentionTaskView):
    """End a task where it is; what is removed stays removed."""

    http_method_names = ("post", "options")

    @extend_schema(
        operation_id="stop_retention_task",
        request=None,
        responses={200: RetentionTaskSerializer, **PROBLEMS},
    )
    def post(self, request: Request, model_id: str, task_id: str) -> Response:
        task = self.task(model_id, task_id)
        if not policies.stop_task(self.caller, task):
            raise Conflict("task-not-active", f"The task is {task.state}.")
        return Response(RetentionTaskSerializer(task).data)


class ResumeRetentionTaskView(RetentionTaskView):
    """Let a stopped or failed task go on, to the limits that it had."""

    http_method_names = ("post", "options")

    @extend_schema(
        operation_id="resume_retention_task",
        request=None,
        responses={200: RetentionTaskSerializer, **PROBLEMS},
    )
    def post(self, request: Request, model_id: str, task_id: str) -> Response:
        task = self.task(model_id, task_id)
        if not policies.resume_task(self.caller, task):
            raise Conflict("task-not-ended", f"The task is {task.state}.")
        return Response(RetentionTaskSerializer(task).data)
