"""The REST API of retention: each view parses, calls a function, and answers."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.http import Http404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from inferences.models import RegisteredModel
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
from istore.db import clock
from istore.models import Role
from istore.tasks.paging import find_task
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
from retention.models import RetentionPolicy, RetentionTask
from retention.surveying import survey_in_time


def uuid_of(text: str) -> uuid.UUID | None:
    """Return the UUID that the text spells, or None."""
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


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

    @extend_schema(
        operation_id="list_retention_tasks",
        parameters=[OpenApiParameter(n, str) for n in ("state", *PAGE_PARAMETERS)],
        responses={200: RetentionTasksSerializer, **PROBLEMS},
    )
    def get(self, request: Request, model_id: str) -> Response:
        model = self.registered_model(model_id)
        return _page(model, read_list_parameters(request))

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
    fields = RetentionTasksQuerySerializer.parse(body)
    tasks = model.retention_tasks.all()
    if policy := fields.get("retention_policy_id"):
        tasks = tasks.filter(policy=uuid_of(policy))
    query = task_query(fields)
    return page_response(tasks, query, RetentionTasksSerializer, "pagination")


class OneRetentionTask(StoreView, TaskView):
    """A view of one task."""

    serializer = RetentionTaskSerializer

    def task(self, model_id: str, task_id: str) -> RetentionTask:
        return find_task(self.registered_model(model_id).retention_tasks, task_id)


@operation("get_retention_task")
class RetentionTaskView(OneRetentionTask, ShowTaskView):
    """One task."""


@operation("stop_retention_task")
class StopRetentionTaskView(OneRetentionTask, StopTaskView):
    """End a task where it is; what is removed stays removed."""

    ended_code = "task-not-active"


@operation("resume_retention_task")
class ResumeRetentionTaskView(OneRetentionTask, ResumeTaskView):
    """Let a stopped or failed task go on, to the limits that it had."""

    resume = staticmethod(policies.resume_task)
