"""The pages of services and sessions: each view queries, and renders a template.

What a person may not see is a 404, like what does not exist.
"""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import (
    require_http_methods,
    require_POST,
    require_safe,
)

from inferences.models import RegisteredModel
from inferences.web.view_models.json_text import highlight
from istore.accounts.access import caller_of
from istore.errors import StoreError
from istore.models import Role
from istore.web.pages import render_page, require, visible_project
from services import calling, session_reaper, sessions
from services.examples import example_for
from services.forms import CallForm, MockForm, NewServiceForm, SessionForm
from services.models import LIVE, InferenceService, InferenceSession, Runner, Status
from services.runners.mocks import Mock, mock_titles

SESSIONS_SHOWN = 30
SERVICES_SHOWN = 200


@login_required
@require_safe
def services(request: HttpRequest) -> HttpResponse:
    caller = caller_of(request)
    seen = InferenceService.objects.visible_to(caller).select_related("project")
    project = None
    if project_id := request.GET.get("project", ""):
        project = visible_project(request, project_id)
        seen = seen.filter(project=project)
    is_live = Q(sessions__status__in=LIVE)
    is_ready = Q(sessions__status=Status.READY)
    found = seen.annotate(
        live=Count("sessions", filter=is_live), ready=Count("sessions", filter=is_ready)
    )[: SERVICES_SHOWN + 1]
    edited = caller.visible_projects(Role.EDITOR)
    context = {
        "services": found[:SERVICES_SHOWN],
        "is_cut": len(found) > SERVICES_SHOWN,
        "project": project,
        "may_edit": edited.exists(),
        "projects": edited,
        "mocks": mock_titles(),
    }
    return render(request, "services/services.html", context)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def new_service(request: HttpRequest) -> HttpResponse:
    caller = caller_of(request)
    projects = caller.visible_projects(Role.EDITOR)
    if not projects.exists():
        raise PermissionDenied
    form = NewServiceForm(request.POST or None, projects=projects)
    if request.method == "POST" and form.is_valid():
        project = form.cleaned_data["project"]
        account = project.project_id
        made = sessions.create_service(caller, project, account=account, **form.values)
        messages.success(request, f"{made} can be started.")
        return redirect("services:service", made.pk)
    status = 400 if form.errors else 200
    return render(request, "services/new.html", {"form": form}, status=status)


@login_required
@never_cache
@require_POST
def start_mock(request: HttpRequest) -> HttpResponse:
    """Create a mock's service and start a session of it, with one click."""
    caller = caller_of(request)
    projects = caller.visible_projects(Role.EDITOR)
    form = MockForm(request.POST, projects=projects)
    if not form.is_valid():
        raise Http404
    project, name = form.cleaned_data["project"], form.cleaned_data["mock"]
    configuration = {"mock": name}
    mock = Mock.read(configuration)
    interface = mock.interface
    if form.cleaned_data["speaks_openai"]:
        interface = mock.openai_interface or interface
    service = sessions.create_service(
        caller,
        project,
        account=project.project_id,
        name=mock_titles()[name],
        runner=Runner.MOCK,
        configuration=configuration,
        endpoint=interface["endpoint"],
        output_schema=interface["outputSchema"],
        input_pipeline=interface["inputPipeline"],
        output_pipeline=interface["outputPipeline"],
    )
    return _start(request, service, {})


@login_required
@require_safe
def service(request: HttpRequest, service_id: UUID) -> HttpResponse:
    found = visible_service(request, service_id)
    return _page(request, found)


@login_required
@never_cache
@require_POST
def start(request: HttpRequest, service_id: UUID) -> HttpResponse:
    """Start a session. Its token is shown in this response only."""
    found = visible_service(request, service_id, Role.EDITOR)
    form = SessionForm(request.POST)
    if not form.is_valid():
        return _page(request, found, status=400, form=form)
    replicas = form.cleaned_data["replicas"]
    return _start(request, found, {"replicas": replicas, "expires_at": form.expires_at})


@login_required
@require_POST
def delete_service(request: HttpRequest, service_id: UUID) -> HttpResponse:
    found = visible_service(request, service_id, Role.EDITOR)
    try:
        sessions.remove_service(caller_of(request), found)
    except StoreError as error:
        messages.error(request, str(error))
        return redirect("services:service", found.pk)
    messages.success(request, f"{found} is removed.")
    return redirect("services:services")


@login_required
@require_POST
def terminate(request: HttpRequest, session_id: UUID) -> HttpResponse:
    session = visible_session(request, session_id, Role.EDITOR)
    session = sessions.terminate_session(caller_of(request), session)
    messages.success(request, f"The {session} has ended.")
    return redirect("services:service", session.service_id)


@login_required
@require_POST
def call(request: HttpRequest, session_id: UUID) -> HttpResponse:
    """Call the session with the request of the form, and render its answer."""
    session = visible_session(request, session_id, Role.EDITOR)
    session_reaper.look(session)
    form = CallForm(request.POST)
    called = None
    if form.is_valid():
        asked = form.cleaned_data["request"]
        called = calling.call(caller_of(request), session, asked)
    status = 400 if form.errors else 200
    return _page(
        request,
        session.service,
        status=status,
        call_form=form,
        called=called,
        of=session,
    )


def visible_service(
    request: HttpRequest, service_id: UUID, role: Role = Role.VIEWER
) -> InferenceService:
    """Return the service, for a person with this role in its project; else 404."""
    caller = caller_of(request)
    seen = InferenceService.objects.visible_to(caller).select_related("project")
    found = seen.filter(pk=service_id).first()
    if found is None:
        raise Http404
    require(caller, role, found.project)
    return found


def visible_session(
    request: HttpRequest, session_id: UUID, role: Role
) -> InferenceSession:
    caller = caller_of(request)
    seen = InferenceSession.objects.visible_to(caller)
    found = seen.filter(pk=session_id).select_related("service__project").first()
    if found is None:
        raise Http404
    require(caller, role, found.service.project)
    return found


def _start(
    request: HttpRequest, found: InferenceService, given: dict[str, Any]
) -> HttpResponse:
    try:
        session, secret = sessions.start_session(caller_of(request), found, **given)
    except StoreError as error:
        messages.error(request, f"The session cannot be started: {error.message}")
        return redirect("services:service", found.pk)
    return _page(request, found, secret=secret, started=session)


def _page(
    request: HttpRequest, found: InferenceService, status: int = 200, **more: Any
) -> HttpResponse:
    """Render the page of a service; only its sessions when htmx polls for them."""
    shown = list(found.sessions.prefetch_related("running")[:SESSIONS_SHOWN])
    callable_ones = [each for each in shown if each.status == Status.READY]
    of = more.pop("of", None) or next(iter(callable_ones), None)
    called = more.get("called")
    stored = (
        RegisteredModel.objects.select_related("project")
        .filter(model_id=found.model_id, project=found.project_id)
        .first()
    )
    context = {
        "service": found,
        "sessions": shown,
        "is_starting": any(each.status in sessions.STARTING for each in shown),
        "callable": of,
        "may_edit": caller_of(request).may(Role.EDITOR, found.project),
        "stored": stored,
        "schema": highlight(_text(found.output_schema))[0],
        "form": SessionForm(),
        "call_form": CallForm.with_example(example_for(found)),
        "answer": highlight(called.text)[0] if called and called.text else "",
        **more,
    }
    return render_page(
        request, "services/service.html", "services/_sessions.html", context, status
    )


def _text(value: Any) -> str:
    return json.dumps(value) if value else ""
