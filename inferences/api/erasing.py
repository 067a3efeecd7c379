"""Erasure: remove whatever carries a metadata value, over all models of a project."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from inferences.api.protecting import ReasonField
from inferences.erasure.chosen_records import SELECTION
from inferences.erasure.matching_records import Carried
from inferences.erasure.running import open_erasure
from inferences.models.erasure import TYPES, ErasureTask
from inferences.models.metadata_values import PATH_MAX_CHARS, UNSTORABLE
from inferences.store.api.scoped_views import ProjectView
from istore.api.fields import FlagField, MomentField, TextField
from istore.api.schema import PROBLEMS
from istore.api.serializers import StrictSerializer, invalid
from istore.api.tasks import (
    ShowTaskView,
    StopTaskView,
    TaskView,
    operation,
    page_response,
)
from istore.errors import Invalid
from istore.models import Project, Role
from istore.tasks.paging import TaskQuery, find_task
from istore.tasks.tracking import TaskState

ON_A_PAGE = 50


class NewErasureSerializer(StrictSerializer):
    """What to erase: as in a metadata filter with ``=``; ``data_source`` by its name."""

    key = TextField(max_length=PATH_MAX_CHARS, allow_blank=False)
    type = serializers.ChoiceField(TYPES)
    value = TextField(max_length=65_536, allow_blank=False)
    why = ReasonField(default="")
    dry_run = FlagField(required=False, default=False)

    def validate(self, given: dict[str, Any]) -> dict[str, Any]:
        for name in ("key", "value"):
            if UNSTORABLE.search(given[name]):
                raise invalid("A NUL, or half a surrogate pair.", name)
        named = (given["key"], given["type"], given["value"])
        try:
            given["carried"] = Carried(*named)
        except ValueError as error:
            raise invalid(str(error), "value") from None
        return given


class ErasureSerializer(serializers.ModelSerializer[ErasureTask]):
    """A task and its report. The value is never told again.

    An erasure of inferences that were chosen on a page has the type ``selection``; its key is the model.
    """

    id = serializers.CharField()
    project_id = serializers.CharField(source="project.project_id")
    state = serializers.ChoiceField(TaskState.choices)
    type = serializers.ChoiceField((*TYPES, SELECTION))
    salt = serializers.SerializerMethodField()
    created_at = MomentField()
    started_at = MomentField(allow_null=True)
    finished_at = MomentField(allow_null=True)

    class Meta:
        model = ErasureTask
        fields = [
            "id",
            "project_id",
            "state",
            "reason",
            "key",
            "type",
            "salt",
            "value_digest",
            "why",
            "dry_run",
            "requested_by",
            "total_count",
            "erased_count",
            "report",
            "created_at",
            "started_at",
            "finished_at",
        ]

    def get_salt(self, task: ErasureTask) -> str:
        return bytes(task.salt).hex()


class ErasuresSerializer(serializers.Serializer[Any]):
    results = ErasureSerializer(many=True)
    next = serializers.CharField(allow_null=True)


class IncludedSerializer(serializers.Serializer[Any]):
    included = serializers.BooleanField()


class AdministeredView(ProjectView):
    """A view of one project for its administrators alone."""

    needs: ClassVar = {"GET": Role.ADMINISTRATOR, "POST": Role.ADMINISTRATOR}

    def project(self, project_id: str) -> Project:
        found = super().project(project_id)
        if not self.caller.may(Role.ADMINISTRATOR, found):
            raise PermissionDenied("This needs the role administrator.")
        return found


class ErasuresView(AdministeredView):
    """The erasures of a project, newest first; asking for another."""

    @extend_schema(
        operation_id="list_erasures", responses={200: ErasuresSerializer, **PROBLEMS}
    )
    def get(self, request: Request, project_id: str) -> Response:
        project = self.project(project_id)
        for name in request.query_params:
            if name not in ("limit", "cursor"):
                message = "There is no such parameter."
                raise Invalid(message, name, code="unknown-parameter")
        limit = _limit(request.query_params.get("limit"))
        query = TaskQuery(limit=limit, cursor=request.query_params.get("cursor"))
        tasks = project.erasures.select_related("project")
        return page_response(tasks, query, ErasuresSerializer)

    @extend_schema(
        operation_id="create_erasure",
        request=NewErasureSerializer,
        responses={201: ErasureSerializer, **PROBLEMS},
    )
    def post(self, request: Request, project_id: str) -> Response:
        project = self.project(project_id)
        wanted = NewErasureSerializer.parse(request.data)
        task = open_erasure(
            self.caller,
            project,
            wanted["carried"],
            why=wanted["why"],
            dry_run=wanted["dry_run"],
        )
        return Response(ErasureSerializer(task).data, status=201)


class OneErasure(AdministeredView, TaskView):
    """A view of one erasure."""

    serializer = ErasureSerializer

    def task(self, project_id: str, task_id: str) -> ErasureTask:
        tasks = self.project(project_id).erasures.select_related("project")
        return find_task(tasks, task_id)


@operation("get_erasure")
class ErasureView(OneErasure, ShowTaskView):
    """One erasure with its report."""


@operation("stop_erasure")
class StopErasureView(OneErasure, StopTaskView):
    """End an erasure where it is; what is erased stays erased."""


class QuestionSerializer(StrictSerializer):
    model_id = TextField(max_length=255)
    inference_id = TextField(max_length=255)


class ErasedView(OneErasure):
    """Whether an erasure removed the inference of an id that the caller knows."""

    @extend_schema(
        operation_id="was_erased",
        request=QuestionSerializer,
        responses={200: IncludedSerializer, **PROBLEMS},
    )
    def post(self, request: Request, project_id: str, task_id: str) -> Response:
        task = self.task(project_id, task_id)
        asked = QuestionSerializer.parse(request.data)
        included = task.includes(asked["model_id"], asked["inference_id"])
        return Response({"included": included})


def _limit(given: str | None) -> int:
    if given is None:
        return ON_A_PAGE
    limit = int(given) if given.isdecimal() and len(given) < 6 else 0
    if not 1 <= limit <= 1000:
        raise Invalid("A whole number from 1 to 1000.", "limit")
    return limit
