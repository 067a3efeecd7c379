"""The pages of models and their inferences: each view asks, and hands on to a template.

Whatever a person may not see is a 404, the same as what is not there.
"""

from __future__ import annotations

import json
import shlex
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import (
    require_http_methods,
    require_POST,
    require_safe,
)

from inferences import previews
from inferences.forms import ModelSettingsForm, NewModelForm
from inferences.media import serve_blob
from inferences.models import Inference, RegisteredModel
from inferences.presentation.activity import activity, count_in_time
from inferences.presentation.answers import answer_of, text_of
from inferences.presentation.browsing import cards, offer
from inferences.presentation.inputs import looks
from inferences.presentation.json_text import highlighted
from inferences.presentation.questions import Question, Row
from inferences.presentation.timeline import timeline
from inferences.querying import (
    BadCursor,
    InferenceQuery,
    Page,
    Pagination,
    find_inference,
)
from inferences.registration import change_settings, register_model
from istore.access import caller_of
from istore.models import Project, Role
from istore.pages import render_page, require
from istore.problems import Conflict

PAGE_SIZES = {"gallery": 24, "table": 50}
CARDS_AT_ONCE = 12  # the activity of further models is asked for when they are reached
ROWS_SHOWN = 300
JSON_OPEN_LINES = 60


def visible_model(
    request: HttpRequest, model_id: str, role: Role = Role.VIEWER
) -> RegisteredModel:
    """The model, for a person who may see it and has this role in its project."""
    caller = caller_of(request)
    seen = RegisteredModel.objects.visible_to(caller).select_related("project")
    model = seen.filter(model_id=model_id).first()
    if model is None:
        raise Http404
    require(caller, role, model.project)
    return model


def visible_inference(
    request: HttpRequest, model_id: str, inference_id: str
) -> Inference:
    found = find_inference(visible_model(request, model_id), inference_id)
    if found is None:
        raise Http404
    return found


# -- models


@login_required
@require_safe
def models(request: HttpRequest) -> HttpResponse:
    caller = caller_of(request)
    administered = set(caller.visible_projects(Role.ADMINISTRATOR))
    edited = set(caller.visible_projects(Role.EDITOR))
    seen = RegisteredModel.objects.visible_to(caller).select_related("project")
    groups: dict[Any, list[tuple[RegisteredModel, Any]]] = {
        project: [] for project in caller.visible_projects()
    }
    for number, model in enumerate(seen):
        shown = activity(model) if number < CARDS_AT_ONCE else None
        groups[model.project].append((model, shown))
    is_new = not any(
        shown and shown.newest for group in groups.values() for _, shown in group
    )
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
    }
    return render(request, "inferences/models.html", context)


def _first_steps(
    groups: dict[Any, Any], edited: set[Project], administered: set[Project]
) -> dict[str, Any]:
    """What the first-inference guide fills in: real addresses, real names."""
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
def model_activity(request: HttpRequest, model_id: str) -> HttpResponse:
    model = visible_model(request, model_id)
    context = {"model": model, "activity": activity(model)}
    return render(request, "inferences/_activity.html", context)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def register(request: HttpRequest) -> HttpResponse:
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
            # Whether it is another tenant's is not for the caller to know.
            form.add_error("model_id", "This id is taken.")
        else:
            said = "is registered" if is_new else "was registered before"
            messages.success(request, f"{model.model_id} {said}.")
            return redirect("inferences:browse", model.model_id)
    status = 400 if form.errors else 200
    return render(request, "inferences/register.html", {"form": form}, status=status)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def model_settings(request: HttpRequest, model_id: str) -> HttpResponse:
    model = visible_model(request, model_id, Role.EDITOR)
    names = list(ModelSettingsForm.base_fields)
    before = {name: getattr(model, name) for name in names}
    form = ModelSettingsForm(request.POST or None, initial=before)
    if request.method == "POST" and form.is_valid():
        changed = {n: v for n, v in form.cleaned_data.items() if v != before[n]}
        if changed:
            change_settings(caller_of(request), model, **changed)
        messages.success(request, "Settings saved." if changed else "Nothing changed.")
        return redirect("inferences:settings", model.model_id)
    context = {"model": model, "form": form, "proxy_url": settings.ISTORE_PROXY_URL}
    status = 400 if form.errors else 200
    return render(request, "inferences/settings.html", context, status=status)


@login_required
@require_POST
def switch_storage(request: HttpRequest, model_id: str) -> HttpResponse:
    model = visible_model(request, model_id, Role.EDITOR)
    enable = request.POST.get("enable") == "true"
    if enable != model.enable_inference_storage:
        caller = caller_of(request)
        change_settings(caller, model, enable_inference_storage=enable)
    said = "are stored from now on" if enable else "are no longer stored"
    messages.success(request, f"Inferences of {model.model_id} {said}.")
    return redirect("inferences:settings", model.model_id)


# -- inferences


@login_required
@require_safe
def browse(request: HttpRequest, model_id: str) -> HttpResponse:
    model = visible_model(request, model_id)
    question = Question(request.GET)
    offered = offer(model)
    question.leave_out(offered.shown([]))
    here = reverse("inferences:browse", args=[model.model_id])
    address = f"{here}?{question.query.urlencode()}"
    if question.was_a_form and not request.htmx:
        return redirect(address)
    if request.GET.get("part") == "count":
        return _count(request, model, question)
    problem, page = "", Page([], None)
    try:
        page = _page(model, question)
    except ValidationError:
        problem = "filters"
    except BadCursor:
        problem = "cursor"
    shown = offered.shown(question.shown_keys)
    context = {
        "model": model,
        "question": question,
        "offer": offered,
        "shown": shown,
        "rows": [*question.rows, Row()],
        "cards": cards(model, page.inferences, shown),
        "next": page.next and f"{question.link()}&cursor={page.next}",
        "problem": problem,
        "may_edit": caller_of(request).may(Role.EDITOR, model.project),
        "proxy_url": settings.ISTORE_PROXY_URL,
        "quoted": quote(model.model_id, safe=""),
    }
    response = render_page(
        request, "inferences/browse.html", "inferences/_results.html", context
    )
    if request.htmx and question.was_a_form:
        response["HX-Push-Url"] = address
    return response


def _page(model: RegisteredModel, question: Question) -> Page:
    limit = PAGE_SIZES[question.view]
    pagination = Pagination("desc", limit, cursor=question.cursor)
    query = InferenceQuery(question.filterset.inference_filter, pagination)
    return query.page(model)


def _count(
    request: HttpRequest, model: RegisteredModel, question: Question
) -> HttpResponse:
    try:
        count = count_in_time(model, question.filterset.inference_filter)
    except ValidationError:
        count = None
    return render(request, "inferences/_count.html", {"count": count})


@login_required
@require_safe
def detail(request: HttpRequest, model_id: str, inference_id: str) -> HttpResponse:
    inference = visible_inference(request, model_id, inference_id)
    model, payload = inference.registered_model, inference.payload
    look = looks([inference])[inference.id]
    answer = answer_of(model, inference, look.picture, from_blob=True)
    text = text_of(inference)
    written, is_whole = highlighted(text)
    notes = payload.notes or {}
    beside = model.inferences.live()
    context = {
        "model": model,
        "inference": inference,
        "payload": payload,
        "look": look,
        "answer": answer,
        "rows": answer.found[:ROWS_SHOWN],
        "json": written,
        "json_is_whole": is_whole,
        "json_is_long": written.count("\n") > JSON_OPEN_LINES,
        "answer_size": (notes.get("answer") or {}).get("size") or len(text.encode()),
        "metadata": [(k, t, v) for k, (t, v) in sorted(payload.metadata.items())],
        "notes": notes,
        "warnings": notes.get("warnings") or [],
        "timeline": timeline(notes),
        "hash": bytes(inference.data_hash).hex(),
        "newer": beside.filter(id__gt=inference.id).oldest_first().first(),
        "older": beside.filter(id__lt=inference.id).newest_first().first(),
        "api_url": f"{settings.ISTORE_URL}/api/v1/models/{quote(model_id, safe='')}"
        f"/inferences/{quote(inference_id, safe='')}",
    }
    return render(request, "inferences/detail.html", context)


@login_required
@require_safe
def media(
    request: HttpRequest, model_id: str, inference_id: str, kind: str
) -> HttpResponse:
    """The input or answer as it was stored, or a preview of the input."""
    model = visible_model(request, model_id)
    inference = find_inference(model, inference_id)
    if inference is None:  # an id of somebody's that ends like one of our addresses
        return detail(request, model_id, f"{inference_id}/{kind}")
    if kind == "preview":
        return _preview(request, inference)
    return serve_blob(request, inference, kind)


def _preview(request: HttpRequest, inference: Inference) -> HttpResponse:
    asked = request.GET.get("size", "320")
    key = inference.payload.data_storage_key
    if not key or asked not in map(str, previews.SIZES):
        raise Http404
    size = int(asked)
    try:
        made = previews.preview(key, size)
    except (FileNotFoundError, previews.Unreadable):
        raise Http404 from None
    except previews.Busy:
        return HttpResponse(status=503, headers={"Retry-After": "5"})
    tag = previews.etag(key, size)
    if tag in request.headers.get("If-None-Match", ""):
        response = HttpResponse(status=304)
    else:
        response = HttpResponse(made, content_type="image/webp")
    response["ETag"] = tag
    # Who may see it can change: the browser asks again, and is told "as before".
    response["Cache-Control"] = "private, no-cache"
    return response
