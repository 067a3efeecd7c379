"""Look up the model or inference of a page, for a person who may see it.

What a person may not see is a 404, like what does not exist.
"""

from __future__ import annotations

from django.http import Http404, HttpRequest

from inferences.models import Inference, RegisteredModel
from inferences.store.reading import find_inference
from istore.accounts.access import caller_of
from istore.addresses import named_project
from istore.db.replica import on_primary
from istore.models import Role
from istore.web.pages import require


def visible_model(
    request: HttpRequest, model_id: str, role: Role = Role.VIEWER
) -> RegisteredModel:
    """Return the model, for a person who may see it and has this role in its project.

    Raises ``AmbiguousModel`` if the URL names no project and several projects have the id.
    """
    caller = caller_of(request)
    named = named_project(request)
    with on_primary():  # rights and settings of this moment, whoever reads the rest
        model = RegisteredModel.objects.seen_by(caller, model_id, named)
        if model is None:
            raise Http404
        require(caller, role, model.project)
    return model


def visible_inference(
    request: HttpRequest, model_id: str, inference_id: str
) -> Inference:
    """Return the inference, for a person who may see its model; else 404."""
    found = find_inference(visible_model(request, model_id), inference_id)
    if found is None:
        raise Http404
    return found


def holds_role(request: HttpRequest, role: Role, model: RegisteredModel) -> bool:
    """Return whether the person has this role in the model's project; asked once a page."""
    known: dict[tuple[str, int], bool] = request.__dict__.setdefault("_roles_held", {})
    place = (str(role.value), model.project_id)
    if place not in known:
        with on_primary():
            known[place] = caller_of(request).may(role, model.project)
    return known[place]
