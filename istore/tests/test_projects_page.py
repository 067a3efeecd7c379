"""The projects of a person, a new one, and the rail that all pages have."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from exports.models import ExportTask
from inferences.models import RegisteredModel
from istore.models import AuditEntry, Membership, Project, Role

pytestmark = pytest.mark.django_db


def body(response) -> str:
    return " ".join(response.content.decode().split())


@pytest.fixture
def two_projects(project, model):
    other = Project.objects.create(project_id="air port&co")
    RegisteredModel.objects.create(
        model_id="runway", project=other, task_type=model.task_type
    )
    Project.objects.create(project_id="of nobody here")
    return project, other


@pytest.fixture
def member(two_projects) -> Client:
    user = User.objects.create_user("maria")
    for project, role in zip(two_projects, (Role.VIEWER, Role.EDITOR), strict=True):
        Membership.objects.create(user=user, project=project, role=role)
    client = Client()
    client.force_login(user)
    client.user = user
    return client


def rail_of(response) -> dict[str, tuple[str, str]]:
    """The address of each place of the rail, and how it is marked."""
    nav = re.search(r'<nav class="rail".*?</nav>', body(response))[0]
    links = re.findall(
        r'<li> <a href="([^"]+)"(?: aria-current="(\w+)")?>.*?<span>(\w+)</span>', nav
    )
    return {title: (address, current) for address, current, title in links}


def test_a_person_sees_their_projects_and_roles(member):
    page = body(member.get("/projects"))
    assert "harbour" in page and "air port&amp;co" in page
    assert "of nobody here" not in page
    assert "<td>Viewer</td>" in page and "<td>Editor</td>" in page
    assert "New project" not in page


def test_only_who_may_creates_a_project(member):
    assert member.get("/projects/new").status_code == 403
    assert member.post("/projects/new", {"project_id": "mine"}).status_code == 403
    permission = Permission.objects.get(codename="add_project")
    member.user.user_permissions.add(permission)
    assert "New project" in body(member.get("/projects"))

    made = member.post("/projects/new", {"project_id": "mine & ours"})

    assert made.url == "/?project=mine+%26+ours"
    assert "mine &amp; ours" in body(member.get(made.url))
    project = Project.objects.get(project_id="mine & ours")
    assert project.memberships.get().role == Role.ADMINISTRATOR
    assert AuditEntry.objects.filter(action="project.create", project=project).exists()


@pytest.mark.parametrize("name", ["harbour", "of nobody here", "", "a\tb", "x" * 256])
def test_a_name_that_is_taken_or_wrong_creates_nothing(operator, two_projects, name):
    before = Project.objects.count()
    refused = operator.post("/projects/new", {"project_id": name})
    assert refused.status_code == 400
    assert 'class="field-error"' in body(refused) or "errorlist" in body(refused)
    assert Project.objects.count() == before


def test_the_menu_leads_to_the_same_place_of_another_project(member):
    menu = body(member.get("/projects?part=menu&at=Exports&project=harbour"))
    assert 'href="/exports?project=air+port%26co"' in menu
    assert re.search(r'href="/exports\?project=harbour" aria-current="true"', menu)
    assert 'href="/exports"' in menu
    assert 'href="/?project=harbour"' in body(member.get("/projects?part=menu&at=x"))


def test_the_rail_marks_the_place_and_keeps_the_project(member, model):
    for address, title in (
        ("/", "Models"),
        ("/projects/harbour/models/yolo-harbour/inferences", "Models"),
        ("/projects/harbour/models/yolo-harbour/exports", "Models"),
        ("/projects/harbour/datasets", "Datasets"),
        ("/datasets", "Datasets"),
        ("/exports?project=harbour", "Exports"),
        ("/services", "Services"),
        ("/projects", "Project"),
        ("/projects/harbour/members", "Project"),
        ("/projects/harbour/traces", "Traces"),
    ):
        response = member.get(address)
        assert response.status_code == 200, address
        rail = rail_of(response)
        assert [t for t, (_, current) in rail.items() if current] == [title], address
        assert "Operations" not in rail
        is_of_one = "harbour" in address
        assert rail["Exports"][0] == (
            "/exports?project=harbour" if is_of_one else "/exports"
        )


def test_staff_have_operations(operator):
    rail = rail_of(operator.get("/operations"))
    assert rail["Operations"] == ("/operations", "page")


def test_models_exports_and_services_of_one_project(member, model, two_projects):
    everything, one = body(member.get("/")), body(member.get("/?project=harbour"))
    assert "runway" in everything and "runway" not in one
    assert "yolo-harbour" in one
    assert member.get("/?project=of nobody here").status_code == 404
    for name in ("yolo-harbour", "runway"):
        ExportTask.objects.create(
            model=RegisteredModel.objects.get(model_id=name),
            created_by="maria",
            format="coco",
            selection={},
        )
    everything = body(member.get("/exports"))
    assert ">yolo-harbour</a>" in everything and ">runway</a>" in everything
    one = body(member.get("/exports?project=harbour"))
    assert ">yolo-harbour</a>" in one and ">runway</a>" not in one
    assert "No export is running" in body(member.get("/exports?state=running"))
    assert member.get("/exports?project=of nobody here").status_code == 404
    assert member.get("/services?project=harbour").status_code == 200
    assert member.get("/services?project=of nobody here").status_code == 404
    there = member.get("/datasets?project=harbour")
    assert there.url == "/projects/harbour/datasets"


def test_exports_of_strangers_are_not_listed(member, two_projects):
    stranger = Project.objects.get(project_id="of nobody here")
    hidden = RegisteredModel.objects.create(model_id="secret", project=stranger)
    ExportTask.objects.create(model=hidden, created_by="x", format="coco", selection={})
    assert "secret" not in body(member.get("/exports"))


def test_the_rail_costs_no_query(member):
    with CaptureQueriesContext(connection) as queries:
        member.get("/password")
    assert not [each for each in queries if "istore_project" in each["sql"]]
