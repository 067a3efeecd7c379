"""Saved views of a project on a model's inferences: filters, columns, order, layout."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from inferences.models import RegisteredModel, SavedView
from inferences.web.access import visible_model
from inferences.web.undo import with_undo
from inferences.web.view_models.questions import Question
from istore.accounts.access import caller_of
from istore.models import AuditEntry, Role

NAME_CHARS = 80
VIEWS_MAX = 100


def address_of(view: SavedView) -> str:
    model = view.registered_model
    here = reverse("inferences:browse", args=[model.project, model.model_id])
    return f"{here}{view.query}"


@login_required
@require_POST
def save(request: HttpRequest, model_id: str) -> HttpResponse:
    """Save ``query`` under ``name``, replacing a view of that name."""
    model = visible_model(request, model_id, Role.EDITOR)
    question = Question(QueryDict(request.POST.get("query", "").removeprefix("?")))
    name = " ".join(request.POST.get("name", "").split())
    here = (
        reverse("inferences:browse", args=[model.project, model.model_id])
        + question.link()
    )
    problem = _problem(model, name)
    if problem:
        messages.error(request, problem)
        return redirect(here)
    with transaction.atomic():
        # The lock orders concurrent requests that set a default: the later one wins.
        RegisteredModel.objects.select_for_update().get(pk=model.pk)
        is_default = request.POST.get("default") == "true"
        if is_default:
            model.saved_views.update(is_default=False)
        values = {
            "query": question.link(),
            "is_default": is_default,
            "created_by": str(caller_of(request))[:300],
        }
        model.saved_views.update_or_create(name=name, defaults=values)
        _note(request, model, "saved_view.put", name)
    messages.success(request, f"The view {name} is saved.")
    return redirect(here)


def _problem(model: RegisteredModel, name: str) -> str:
    if not name or len(name) > NAME_CHARS or "\0" in name:
        return f"The name of a view has 1 to {NAME_CHARS} characters."
    others = model.saved_views.exclude(name=name)
    if others.count() >= VIEWS_MAX:
        return f"A model has at most {VIEWS_MAX} views: remove one first."
    return ""


@login_required
@require_POST
def change(request: HttpRequest, model_id: str, view_id: int) -> HttpResponse:
    """Change a saved view: ``default`` sets or unsets the default, ``remove`` deletes it."""
    model = visible_model(request, model_id, Role.EDITOR)
    with transaction.atomic():
        RegisteredModel.objects.select_for_update().get(pk=model.pk)
        view = model.saved_views.filter(pk=view_id).first()
        if view is None:
            raise Http404
        if "remove" in request.POST:
            view.delete()
            _note(request, model, "saved_view.delete", view.name)
            message = f"The view {view.name} is removed."
            messages.success(request, _undo(request, model, view, message))
        else:
            is_default = request.POST.get("default") == "true"
            model.saved_views.update(is_default=False)
            model.saved_views.filter(pk=view.pk).update(is_default=is_default)
            _note(request, model, "saved_view.put", view.name)
            message = "is shown first" if is_default else "is no longer shown first"
            messages.success(request, f"The view {view.name} {message}.")
    return redirect(
        reverse("inferences:browse", args=[model.project, model.model_id])
        + "?view=gallery"
    )


def _undo(
    request: HttpRequest, model: RegisteredModel, view: SavedView, message: str
) -> str:
    fields = [("name", view.name), ("query", view.query)]
    if view.is_default:
        fields.append(("default", "true"))
    address = reverse("inferences:saved-views", args=[model.project, model.model_id])
    return with_undo(request, message, address, fields)


def _note(request: HttpRequest, model: RegisteredModel, action: str, name: str) -> None:
    AuditEntry.write(
        caller_of(request), action, name, model.project, model_id=model.model_id
    )
