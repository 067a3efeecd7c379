"""The projects of a person: the list, the menu to switch between them, and a new one."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods, require_safe

from istore.accounts.access import caller_of, person_of
from istore.models import PROJECT_ID, AuditEntry, Membership, Project, Role
from istore.web import rail

IN_MENU = 30  # beyond, the page of all projects is the better list
PERMISSION = "istore.add_project"


class NewProjectForm(forms.Form):
    """The form to create a project."""

    project_id = forms.CharField(
        label="Name",
        max_length=255,
        validators=[PROJECT_ID],
        help_text="It stands in addresses and in programs, and cannot be changed.",
    )


@login_required
@require_safe
def projects(request: HttpRequest) -> HttpResponse:
    """Render the projects that a person may see; with ``part=menu`` the menu of the switcher."""
    caller, person = caller_of(request), person_of(request)
    seen = caller.visible_projects()
    may_create = person.has_perm(PERMISSION)
    if request.GET.get("part") == "menu":
        place = rail.places.get(request.GET.get("at", "")) or rail.places["Models"]
        shown = list(seen[: IN_MENU + 1])
        menu = {
            "choices": [(each, place.address(each.project_id)) for each in shown],
            "all_address": place.address(""),
            "chosen": request.GET.get("project", ""),
            "may_create": may_create,
            "is_cut": len(shown) > IN_MENU,
        }
        return render(request, "accounts/_projects_menu.html", menu)
    held = Membership.objects.filter(user=person)
    roles = {each.project_id: each.role for each in held}
    context: dict[str, Any] = {
        "rows": [(each, _role_in(each, roles, person.is_superuser)) for each in seen],
        "may_create": may_create,
    }
    return render(request, "accounts/projects.html", context)


def _role_in(project: Project, roles: dict[Any, str], is_superuser: bool) -> str:
    return "administrator" if is_superuser else roles.get(project.pk, "")


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def new_project(request: HttpRequest) -> HttpResponse:
    """Create a project, whose first administrator is the person."""
    person = person_of(request)
    if not person.has_perm(PERMISSION):
        raise PermissionDenied
    form = NewProjectForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        project = _create(request, form.cleaned_data["project_id"])
        if project is not None:
            messages.success(request, f"The project {project} is there.")
            query = urlencode({"project": project.project_id})
            return redirect(f"{reverse('inferences:models')}?{query}")
        form.add_error("project_id", "This name is taken.")
    status = 400 if form.errors else 200
    return render(request, "accounts/new_project.html", {"form": form}, status=status)


def _create(request: HttpRequest, project_id: str) -> Project | None:
    """Return the new project; None if there is one of this name."""
    try:
        with transaction.atomic():
            project = Project.objects.create(project_id=project_id)
            Membership.objects.create(
                user=person_of(request), project=project, role=Role.ADMINISTRATOR
            )
            AuditEntry.write(caller_of(request), "project.create", project_id, project)
    except IntegrityError:
        return None
    return project
