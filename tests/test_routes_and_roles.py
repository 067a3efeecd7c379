"""Who may call what: every route of the API, each role, own, foreign and absent models.

A route that is not in the table fails the test: deny by default is a habit, too.
"""

from __future__ import annotations

from uuid import UUID

import pytest
from django.urls import get_resolver

from inferences.models import RegisteredModel
from istore.models import Project, Role

OWN, FOREIGN, ABSENT = "yolo-harbour", "foreign", "absent"
V, E, A = Role.VIEWER, Role.EDITOR, Role.ADMINISTRATOR

# What the least role is that a method of a route needs. {} stands for a model.
ROUTES = {
    "projects/harbour/inferences/filter": {"post": V},
    "projects/harbour/inferences/count": {"post": V},
    "projects/harbour/erasures": {"get": A, "post": A},
    f"projects/harbour/erasures/{UUID(int=0)}": {"get": A},
    f"projects/harbour/erasures/{UUID(int=0)}/stop": {"post": A},
    f"projects/harbour/erasures/{UUID(int=0)}/included": {"post": A},
    "projects/harbour/datasets": {"get": V, "post": E},
    "projects/harbour/datasets/a": {"get": V, "patch": E, "delete": E},
    "projects/harbour/datasets/a/versions": {"get": V, "post": E},
    "projects/harbour/datasets/a/versions/working": {"get": V},
    "projects/harbour/datasets/a/versions/1/entries": {"get": V},
    "projects/harbour/datasets/a/versions/1/archives": {"post": E},
    "projects/harbour/datasets/a/entries/remove": {"post": E},
    "projects/harbour/datasets/a/compare/1..working": {"get": V},
    "projects/harbour/datasets/a/additions": {"get": V, "post": E},
    f"projects/harbour/datasets/a/additions/{UUID(int=0)}": {"get": V},
    f"projects/harbour/datasets/a/additions/{UUID(int=0)}/stop": {"post": E},
    f"projects/harbour/datasets/a/additions/{UUID(int=0)}/retry": {"post": E},
    "projects/harbour/datasets/a/archives": {"get": V},
    f"projects/harbour/datasets/a/archives/{UUID(int=0)}": {"get": V},
    f"projects/harbour/datasets/a/archives/{UUID(int=0)}/file": {"get": V},
    f"projects/harbour/datasets/a/archives/{UUID(int=0)}/stop": {"post": E},
    f"projects/harbour/datasets/a/archives/{UUID(int=0)}/retry": {"post": E},
    "export-formats": {"get": V},
    "export-destinations": {"get": V},
    "models/{}/export-schedules": {"get": V, "post": E},
    "models/{}/export-schedules/a": {"get": V, "patch": E, "delete": E},
    "models/{}/export-schedules/a/run": {"post": E},
    "models/{}/export-schedules/a/runs": {"get": V},
    "models/{}/export-schedules/a/files": {"get": V},
    "models/{}/export-tasks": {"get": V, "post": E},
    "models/{}/export-tasks/filter": {"post": V},
    "models/{}/export-tasks/a": {"get": V},
    "models/{}/export-tasks/a/archive": {"get": V},
    "models/{}/export-tasks/a/stop": {"post": E},
    "models/{}/export-tasks/a/retry": {"post": E},
    "inferenceservices": {"get": V, "post": E},
    "inferenceservices/mock": {"post": E},
    "inferenceservices/a": {"get": V, "delete": E},
    "inferencesessions": {"get": V, "post": E},
    "inferencesessions/a": {"get": V},
    "inferencesessions/a/token": {"post": E},
    "inferencesessions/a/terminate": {"post": E},
    "inferencesessions/a/ready": {"get": V},
    "inferencesessions/a/infer/generate": {"post": E},
    "models": {"get": V, "post": E},
    "models/{}": {"get": V},
    "models/{}/inference-server-settings": {"patch": E},
    "models/{}/inferences": {"get": V, "post": E},
    "models/{}/inferences/filter": {"get": V, "post": V, "delete": E},
    "models/{}/inferences/count": {"get": V, "post": V, "delete": E},
    "models/{}/inferences/batch": {"get": V, "post": E, "delete": E},
    "models/{}/inferences/delete": {"get": V, "post": E, "delete": E},
    "models/{}/inferences/protection": {"get": V, "post": E, "delete": E},
    "models/{}/inferences/a": {"get": V, "delete": E},
    "models/{}/inferences/a/protection": {"get": V, "put": E, "delete": E},
    "models/{}/inferences/a/input": {"get": V},
    "models/{}/inferences/a/metadata": {"get": V, "post": E},
    "models/{}/inferences/a/metadata/k": {"put": E, "delete": E},
    "models/{}/inferences/a/metadata-history": {"get": V},
    "models/{}/inferences/a/ground-truth": {"get": V, "put": E, "delete": E},
    "models/{}/inferences/a/ground-truth/history": {"get": V},
    "models/{}/ground-truth": {"get": V, "post": E},
    "models/{}/ground-truth/pending": {"get": V, "delete": E},
    "models/{}/ground-truth-files": {"get": V},
    f"models/{{}}/ground-truth-files/{UUID(int=0)}": {"get": V},
    f"models/{{}}/ground-truth-files/{UUID(int=0)}/stop": {"post": E},
    "models/{}/quality": {"post": V},
    "models/{}/metadata/counts": {"get": V},
    "models/{}/metadata/statistics": {"post": V},
    "models/{}/metadata/bulk": {"post": E},
    "models/{}/retention-policy": {"get": V, "post": E},
    "models/{}/retention-policy/a": {"put": E, "delete": E},
    "models/{}/retention-preview": {"post": V},
    "models/{}/retention-tasks": {"get": V, "post": E},
    "models/{}/retention-tasks/filter": {"post": V},
    "models/{}/retention-tasks/a": {"get": V},
    "models/{}/retention-tasks/a/stop": {"post": E},
    "models/{}/retention-tasks/a/resume": {"post": E},
    "models/{}/deleted": {"get": A},
    "models/{}/deleted/filter": {"post": A},
    "models/{}/deleted/restore": {"post": A},
    "models/{}/deleted/remove": {"post": A},
    "models/{}/uploads/data": {"post": E},
    "models/{}/uploads/metadata": {"post": E},
}
METHODS = [(path, method) for path in ROUTES for method in ROUTES[path]]
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
