"""Who may call what: every route of the API, each role, own, foreign and absent models.

A route that is not in the table fails the test: deny by default is a habit, too.
"""

from __future__ import annotations

import pytest
from django.urls import get_resolver

from inferences.models import RegisteredModel
from istore.models import Project, Role
from tests.routes_and_roles import ABSENT, FOREIGN, METHODS, OWN, ROUTES

ON_A_MODEL = [(path, method) for path, method in METHODS if "{}" in path]


def call(api, path, method, model_id=OWN):
    batch = path.endswith("/batch") and method == "post"
    kind = {"content_type": "application/x-ndjson"} if batch else {"format": "json"}
    body = b"{}" if batch else {}
    response = getattr(api, method)(f"/api/v1/{path.format(model_id)}", body, **kind)
    if response.streaming:
        b"".join(response.streaming_content)
    return response.status_code


@pytest.fixture
def stored(make_inference):
    for name in ("a", "filter", "count", "batch", "delete", "protection"):
        make_inference({"k": "v"}, inference_id=name)


@pytest.fixture
def foreign():
    project = Project.objects.create(project_id="other")
    RegisteredModel.objects.create(model_id=FOREIGN, project=project)


def test_every_route_is_in_the_table():
    mounted = [p for p in get_resolver().url_patterns if str(p.pattern) == "api/v1/"]
    routes = [route for api in mounted for route in api.url_patterns]
    views = {route.callback.view_class for route in routes}
    known = set()
    for path in ROUTES:
        name = f"/api/v1/{path.format(OWN)}"
        known.add(get_resolver().resolve(name).func.view_class)

    assert known == views


@pytest.mark.parametrize(("path", "method"), METHODS)
@pytest.mark.parametrize("role", Role)
def test_a_role_opens_what_it_covers_and_nothing_else(
    api_as, stored, path, method, role
):
    status = call(api_as(role), path, method)

    is_of_one = "{}" in path or path.startswith("projects/")
    if role.rank < ROUTES[path][method].rank and is_of_one:
        assert status == 403
    else:
        assert status not in (401, 403, 405), status
        assert status < 500


@pytest.mark.parametrize(("path", "method"), ON_A_MODEL)
def test_foreign_and_absent_models_look_alike(api_as, stored, foreign, path, method):
    administrator = api_as(Role.ADMINISTRATOR)

    assert call(administrator, path, method, FOREIGN) == 404
    assert call(administrator, path, method, ABSENT) == 404


@pytest.mark.parametrize(("path", "method"), METHODS)
def test_without_a_token_nothing_opens(client, stored, path, method):
    response = getattr(client, method)(f"/api/v1/{path.format(OWN)}")

    assert response.status_code == 401


def test_a_foreign_project_looks_like_an_absent_one(api_as, foreign):
    for name in ("other", "absent"):
        path = f"projects/{name}/inferences/filter"
        assert call(api_as(Role.ADMINISTRATOR), path, "post") == 404


def test_a_viewer_registers_no_model(api_as):
    body = {"model_id": "m", "project_id": "harbour", "task_type": "Object Detection"}

    assert api_as(Role.VIEWER).post("/api/v1/models", body).status_code == 403
    assert api_as(Role.EDITOR).post("/api/v1/models", body).status_code == 201


def test_nobody_registers_in_another_project(api_as, foreign):
    body = {"model_id": "m", "project_id": "other", "task_type": "Object Detection"}

    assert api_as(Role.ADMINISTRATOR).post("/api/v1/models", body).status_code == 400


def test_registering_again_is_a_no_op_and_with_other_values_a_conflict(api):
    body = {"model_id": "m", "project_id": "harbour", "task_type": "Object Detection"}

    first, same = api.post("/api/v1/models", body), api.post("/api/v1/models", body)
    other = api.post("/api/v1/models", body | {"embedding_size": 3})

    assert (first.status_code, same.status_code, other.status_code) == (201, 200, 409)
    assert same.json()["model_id"] == "m"
