"""The pages of models: the list, registration, and the settings of one."""

from __future__ import annotations

import json
import shlex
from typing import Any
from urllib.parse import quote, urlencode

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import OuterRef, Q, Subquery
from django.db.models.functions import Coalesce
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import (
    require_http_methods,
    require_POST,
    require_safe,
)

from inferences.models import Inference, PinnedModel, RegisteredModel
from inferences.models.registered_model import RegisteredModelQuerySet
from inferences.store import text_reindexing
from inferences.store.registration import TAKEN, change_settings, register_model
from inferences.web.access import visible_model
from inferences.web.forms import ModelSettingsForm, NewModelForm
from inferences.web.view_models.activity import activity, storage_used
from istore.accounts.access import Caller, caller_of, person_of
from istore.db.replica import reads_replica
from istore.errors import Conflict
from istore.models import Project, Role
from istore.tasks.pages import stop_task
from istore.web.pages import redirect_back

SORTS = {"": "name", "last": "last inference", "task_type": "task"}
CARDS_AT_ONCE = 12  # models whose activity one response has, where it is asked for


@login_required
@require_safe
def models(request: HttpRequest) -> HttpResponse:
    """Render the models that the person may see, or those of one ``project``.

    Each card fetches its own activity, so that none waits for another. With ``figures=true`` the
    activity of the first is in the response, for browsers without JavaScript.
    """
    caller = caller_of(request)
    administered = set(caller.visible_projects(Role.ADMINISTRATOR))
    edited = set(caller.visible_projects(Role.EDITOR))
    text, sort = request.GET.get("q", "").strip()[:200], request.GET.get("sort", "")
    sort = sort if sort in SORTS else ""
    chosen = request.GET.get("project", "")
    projects = list(caller.visible_projects())
    if chosen:
        projects = [each for each in projects if each.project_id == chosen]
        if not projects:
            raise Http404
    groups: dict[Any, list[tuple[RegisteredModel, Any]]] = {
        project: [] for project in projects
    }
    found = [m for m in _seen(person_of(request), text, sort) if m.project in groups]
    at_once = CARDS_AT_ONCE if request.GET.get("figures") == "true" else 0
    for number, model in enumerate(found):
        shown = activity(model) if number < at_once else None
        groups[model.project].append((model, shown))
    first = found[:CARDS_AT_ONCE]
    is_new = not text and not any(each.inferences.live().exists() for each in first)
    context = {
        "groups": [
            {
                "project": project,
                "models": group,
                "may_administer": project in administered,
                "may_edit": project in edited,
            }
            for project, group in groups.items()
        ],
        "may_register": bool(edited),
        "first_steps": _first_steps(groups, edited, administered)
        if edited and is_new
        else None,
        "count": sum(map(len, groups.values())),
        "has_figures": bool(at_once),
        "view": "table" if request.GET.get("view") == "table" else "cards",
        "text": text,
        "sort": sort,
        "sorts": SORTS,
        "chosen": chosen,
        "kept": _other_parameters(text, sort, chosen),
    }
    return render(request, "inferences/models.html", context)


def _other_parameters(text: str, sort: str, project_id: str) -> str:
    given = {"q": text, "sort": sort, "project": project_id}
    kept = {name: value for name, value in given.items() if value}
    return f"&{urlencode(kept)}" if kept else ""


def _seen(person: User, text: str, sort: str) -> list[RegisteredModel]:
    """Return the models that a person sees and the text names, pinned ones first."""
    seen = RegisteredModel.objects.visible_to(Caller(person)).select_related("project")
    if text:
        seen = seen.filter(
            Q(model_id__icontains=text)
            | Q(task_type__icontains=text)
            | Q(project__project_id__icontains=text)
        )
    found = list(_sorted(seen, sort))
    pinned = _pinned_by(person)
    for model in found:
        model.is_pinned = model.pk in pinned
    return sorted(found, key=lambda model: not model.is_pinned)


def _sorted(seen: RegisteredModelQuerySet, sort: str) -> RegisteredModelQuerySet:
    if sort != "last":
        return seen.order_by(sort or "model_id", "model_id")
    # The primary key of the inferences gives each model's newest.
    newest = Inference.objects.filter(registered_model=OuterRef("pk"), deleted=False)
    last = Subquery(newest.order_by("-id").values("id")[:1])
    return seen.order_by(Coalesce(last, 0).desc(), "model_id")


def _pinned_by(person: User) -> set[int]:
    keys = PinnedModel.objects.filter(user=person)
    return set(keys.values_list("registered_model", flat=True))


@login_required
@require_POST
def pin_model(request: HttpRequest, model_id: str) -> HttpResponse:
    """Pin a model to the top of the person's list, or unpin it, and show the list again."""
    model = visible_model(request, model_id)
    person = person_of(request)
    if request.POST.get("pinned"):
        PinnedModel.objects.get_or_create(user=person, registered_model=model)
    else:
        PinnedModel.objects.filter(user=person, registered_model=model).delete()
    return redirect_back(
        request, request.POST.get("back", ""), reverse("inferences:models")
    )


def _first_steps(
    groups: dict[Any, Any], edited: set[Project], administered: set[Project]
) -> dict[str, Any]:
    """Return the values that the guide to a first inference shows: real URLs and names."""
    first = next((model for group in groups.values() for model, _ in group), None)
    project = first.project if first else min(edited, key=str)
    body = {
        "model_id": "my-model",
        "project_id": project.project_id,
        "task_type": "Object Detection",
        "upstream_url": "https://models.example.org",
        "enable_inference_storage": True,
    }
    return {
        "url": settings.ISTORE_URL,
        "proxy_url": settings.ISTORE_PROXY_URL,
        "model_id": first.model_id if first else "my-model",
        "quoted": quote(first.model_id if first else "my-model", safe=""),
        "model": first,
        "project": project,
        "body": shlex.quote(json.dumps(body, indent=1)),
        "may_create_token": project in administered,
    }


@login_required
@require_safe
@reads_replica
def model_activity(request: HttpRequest, model_id: str) -> HttpResponse:
    """Render the activity of one model's card."""
    model = visible_model(request, model_id)
    model.is_pinned = model.pk in _pinned_by(person_of(request))
    if request.GET.get("part") == "storage":
        context = {"model": model, "used": storage_used(model)}
        return render(request, "inferences/_storage_used.html", context)
    row = request.GET.get("view") == "table"
    back = reverse("inferences:models") + ("?view=table" if row else "")
    context = {"model": model, "activity": activity(model), "back": back}
    name = "inferences/_model_row.html" if row else "inferences/_activity.html"
    return render(request, name, context)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def register(request: HttpRequest) -> HttpResponse:
    """Render the form to register a model; POST registers it."""
    caller = caller_of(request)
    projects = caller.visible_projects(Role.EDITOR)
    first = projects.first()
    if first is None:
        raise PermissionDenied
    form = NewModelForm(
        request.POST or None, projects=projects, initial={"project": first}
    )
    if request.method == "POST" and form.is_valid():
        values = form.cleaned_data.copy()
        project, model_id = values.pop("project"), values.pop("model_id")
        try:
            model, is_new = register_model(caller, project, model_id, **values)
        except Conflict:
            form.add_error("model_id", TAKEN)
        else:
            said = "is registered" if is_new else "was registered before"
            messages.success(request, f"{model.model_id} {said}.")
            return redirect("inferences:browse", model.project, model.model_id)
    status = 400 if form.errors else 200
    return render(request, "inferences/register.html", {"form": form}, status=status)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def model_settings(request: HttpRequest, model_id: str) -> HttpResponse:
    """Render the settings of a model; POST changes them."""
    model = visible_model(request, model_id, Role.EDITOR)
    task = model.text_index_tasks.order_by("-created_at").first()
    if request.GET.get("part") == "texts":
        part = {"model": model, "task": task}
        return render(request, "inferences/_text_index_task.html", part)
    names = list(ModelSettingsForm.base_fields)
    before = {name: getattr(model, name) for name in names}
    form = ModelSettingsForm(request.POST or None, initial=before)
    if request.method == "POST" and form.is_valid():
        changed = {n: v for n, v in form.cleaned_data.items() if v != before[n]}
        if changed:
            change_settings(caller_of(request), model, **changed)
        messages.success(request, "Settings saved." if changed else "Nothing changed.")
        return redirect("inferences:settings", model.project, model.model_id)
    context = {
        "model": model,
        "form": form,
        "proxy_url": settings.ISTORE_PROXY_URL,
        "quoted": quote(model.model_id, safe=""),
        "task": task,
    }
    status = 400 if form.errors else 200
    return render(request, "inferences/settings.html", context, status=status)


@login_required
@require_POST
def index_texts(request: HttpRequest, model_id: str) -> HttpResponse:
    """Start to index the texts of a model anew, or stop it, and show the settings again."""
    model = visible_model(request, model_id, Role.EDITOR)
    if request.POST.get("act") == "stop":
        for task in model.text_index_tasks.active():
            stop_task(request, task)
    else:
        with transaction.atomic():
            text_reindexing.start(caller_of(request), model)
    return redirect("inferences:settings", model.project, model.model_id)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def switch_storage(request: HttpRequest, model_id: str) -> HttpResponse:
    """Switch storage on or off; GET redirects to the model's Storage page."""
    if request.method != "POST":
        model = visible_model(request, model_id)
        return redirect("retention:policy", model.project, model.model_id)
    model = visible_model(request, model_id, Role.EDITOR)
    enable = request.POST.get("enable") == "true"
    if enable != model.enable_inference_storage:
        caller = caller_of(request)
        change_settings(caller, model, enable_inference_storage=enable)
    said = "are stored from now on" if enable else "are no longer stored"
    messages.success(request, f"Inferences of {model.model_id} {said}.")
    if request.POST.get("back") == "models":
        return redirect("inferences:models")
    return redirect("inferences:settings", model.project, model.model_id)
