"""What the search over all pages finds of this app: models, saved views, inferences."""

from __future__ import annotations

from django.db.models import Q
from django.urls import reverse

from inferences.models import InferenceKey, RegisteredModel, SavedView
from inferences.store.reading import find_inference
from istore.accounts.access import Caller
from istore.web.finding import Found


def find_models(caller: Caller, text: str, most: int) -> list[Found]:
    """Return the models whose id or project has the text, those that begin with it first."""
    named = Q(model_id__icontains=text) | Q(project__project_id__icontains=text)
    seen = RegisteredModel.objects.visible_to(caller).select_related("project")
    found = sorted(
        seen.filter(named).order_by("model_id")[: 20 * most],
        key=lambda model: not model.model_id.lower().startswith(text.lower()),
    )
    return [
        Found(
            model.model_id,
            reverse("inferences:browse", args=[model.project, model.model_id]),
            f"{model.task_type} in {model.project.project_id}",
            "grid",
        )
        for model in found[:most]
    ]


def find_views(caller: Caller, text: str, most: int) -> list[Found]:
    """Return the saved views of visible models whose name has the text; none for no text."""
    if not text:
        return []
    models = RegisteredModel.objects.visible_to(caller)
    views = SavedView.objects.filter(registered_model__in=models, name__icontains=text)
    found = views.select_related("registered_model__project")[:most]
    return [
        Found(
            view.name,
            reverse(
                "inferences:browse",
                args=[view.registered_model.project, view.registered_model.model_id],
            )
            + f"?{view.query.removeprefix('?')}",
            f"of {view.registered_model.model_id}",
            "bookmark",
        )
        for view in found
    ]


def find_inferences(caller: Caller, text: str, most: int) -> list[Found]:
    """Return the inferences of visible models with exactly this id."""
    if not text:
        return []
    models = RegisteredModel.objects.visible_to(caller).select_related("project")
    by_key = {model.pk: model for model in models}
    keys = InferenceKey.objects.filter(
        registered_model__in=list(by_key), inference_id=text, removed_at=None
    ).exclude(row_id=None)
    found = []
    for key in keys[:most]:
        model = by_key[key.registered_model_id]
        if find_inference(model, text) is not None:  # soft-deleted ones have no page
            address = reverse(
                "inferences:detail", args=[model.project, model.model_id, text]
            )
            found.append(Found(text, address, f"of {model.model_id}", "picture"))
    return found
