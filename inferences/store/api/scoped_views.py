"""Base views of the API for data of projects; a caller sees only their own projects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, ClassVar, TypeVar

from django.http import Http404, HttpResponse
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import PermissionDenied
from rest_framework.response import Response
from rest_framework.views import APIView

from inferences.models import Inference, RegisteredModel
from inferences.store.api.authentication import (
    ModelBearer,
    ModelBearerAuthentication,
)
from inferences.store.lost_copies import find_lost_copy
from inferences.store.reading import find_inference
from istore.accounts.access import Caller, caller_of
from istore.addresses import named_project
from istore.api.access import RolePermission
from istore.api.idempotency import IdempotentMixin
from istore.api.parsing import JSONRenderer, write_response
from istore.db import clock, replica
from istore.errors import NotFound
from istore.models import Project, Role

T = TypeVar("T")


class StoreView(IdempotentMixin, APIView):
    """A view of what belongs to projects. ``needs`` says which role a method asks for."""

    authentication_classes: Sequence[type[BaseAuthentication]] = (
        ModelBearerAuthentication,
        SessionAuthentication,
    )
    permission_classes = (RolePermission,)
    needs: ClassVar[dict[str, Role]] = {}

    @property
    def caller(self) -> Caller:
        return caller_of(self.request)

    def came_at(self) -> datetime:
        """Return when the call came, by the database's clock."""
        user = self.request.user
        return user.came_at if isinstance(user, ModelBearer) else clock.now()

    def read(self, function: Callable[[], T]) -> T:
        """Return what the function returns, which may be read from a replica.

        It may run twice. The caller's rights are looked at before.
        """
        return replica.read(replica.key_of(self.request), function)

    def respond(self, data: Any, status: int = 200) -> HttpResponse:
        """Return a response in JSON, whose content is data that orjson can write.

        The response of the REST framework, which renders later, is made only where something
        else reads the data.
        """
        if self.call or type(self.request.accepted_renderer) is not JSONRenderer:
            return Response(data, status=status)
        content = write_response(data)
        return HttpResponse(content, JSONRenderer.media_type, status)

    def registered_model(self, model_id: str) -> RegisteredModel:
        """The model, for a caller with the role this call needs.

        Who may not even see it gets the 404 of an absent one, who may see it but not
        do this a 403, and who sees several of this id without naming a project a 409.
        """
        user, project_id = self.request.user, named_project(self.request)
        if isinstance(user, ModelBearer) and user.model_id == model_id:
            model = user.model
        else:
            model = RegisteredModel.objects.seen_by(self.caller, model_id, project_id)
        if model is None:
            raise Http404
        role = RolePermission.role(self.request, self)
        if role != Role.VIEWER and not self.caller.may(role, model.project):
            raise PermissionDenied(f"This needs the role {role.label.lower()}.")
        return model

    def inference(self, model_id: str, inference_id: str) -> Inference:
        model = self.registered_model(model_id)
        found = find_inference(model, inference_id)
        if found is None:
            if lost := find_lost_copy(model, inference_id):
                raise NotFound("not-found", lost.message)
            raise Http404
        return found


class ProjectView(StoreView):
    """A view of one project; reading it needs a viewer."""

    needs: ClassVar = {"POST": Role.VIEWER}

    def project(self, project_id: str) -> Project:
        seen = self.caller.visible_projects()
        project = seen.filter(project_id=project_id).first()
        if project is None:
            raise Http404
        return project

    def models(self, project: Project) -> list[RegisteredModel]:
        return list(project.models.order_by("pk"))
