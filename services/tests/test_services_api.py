import pytest
from inference_store import mocks

from inferences.models import RegisteredModel
from istore.models import AuditEntry, Project, Role
from services.models import InferenceService

pytestmark = pytest.mark.django_db

PATH = "/api/v1/inferenceservices"
URL = {"kind": "url", "url": "http://127.0.0.1:9000", "protocol": "openai"}


def description(**changes) -> dict:
    given = {
        "account": "team-a",
        "name": "chat",
        "runner": URL,
        "interface": {"endpoint": "v1/chat/completions"},
    }
    return {**given, **changes}


def created(api, **changes) -> dict:
    response = api.post(PATH, description(**changes))
    assert response.status_code == 201, response.content
    return response.json()


def refusal(api, **changes) -> tuple[int, str, str]:
    response = api.post(PATH, description(**changes))
    told = response.json()
    errors = told.get("errors") or [{"pointer": ""}]
    assert not InferenceService.objects.exists()
    return response.status_code, errors[0]["pointer"], told["detail"]


def test_a_service_is_described_and_found_again(api):
    interface = {
        "endpoint": "v1/chat/completions",
        "outputSchema": {"type": "object"},
        "inputPipeline": [{"kind": "Rename", "configuration": {"text": "prompt"}}],
        "outputPipeline": [{"kind": "Drop", "configuration": {"fields": ["usage"]}}],
    }
    service = created(api, interface=interface, model_id="gpt")
    assert service["account"] == "team-a"
    assert service["project_id"] == "harbour"
    assert service["status"] == "Ready"
    assert service["interface"] == interface
    assert service["runner"] == URL
    assert service["model"] == {"id": "gpt", "name": "gpt"}
    assert api.get(f"{PATH}/{service['id']}").json() == service
    assert api.get(PATH).json() == {"results": [service], "next": None}
    entry = AuditEntry.objects.get(action="service.create")
    assert entry.subject == service["id"]


def test_the_list_comes_page_by_page_and_by_account(api):
    names = [f"s{n}" for n in range(5)]
    for name in names:
        created(api, name=name, account="odd" if name in ("s1", "s3") else "even")
    first = api.get(PATH, {"limit": 2}).json()
    second = api.get(PATH, {"limit": 2, "cursor": first["next"]}).json()
    third = api.get(PATH, {"limit": 2, "cursor": second["next"]}).json()
    pages = [
        [each["name"] for each in page["results"]] for page in (first, second, third)
    ]
    assert pages == [["s4", "s3"], ["s2", "s1"], ["s0"]]
    assert third["next"] is None
    odd = api.get(PATH, {"account": "odd"}).json()["results"]
    assert [each["name"] for each in odd] == ["s3", "s1"]


@pytest.mark.parametrize(
    "query", [{"limit": "0"}, {"limit": "1001"}, {"cursor": "x"}, {"page": "2"}]
)
def test_a_list_refuses_what_it_does_not_know(api, query):
    response = api.get(PATH, query)
    assert response.status_code == 400
    assert response.json()["errors"][0]["pointer"] == f"/{next(iter(query))}"


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"account": ""}, "/account"),
        ({"name": "a\nb"}, "/name"),
        ({"colour": "red"}, "/colour"),
        ({"runner": {"kind": "shell"}}, "/runner/kind"),
        ({"runner": {**URL, "url": "http://10.0.0.1"}}, "/runner/url"),
        ({"runner": {**URL, "url": "file:///etc/passwd"}}, "/runner/url"),
        ({"runner": {**URL, "protocol": "grpc"}}, "/runner/protocol"),
        ({"runner": {**URL, "protocol": "v2"}}, "/runner/model"),
        ({"runner": {**URL, "command": "sh"}}, "/runner/command"),
        ({"runner": {**URL, "ready": "health"}}, "/runner/ready"),
        ({"runner": {"kind": "process", "process": "wine"}}, "/runner/process"),
        ({"runner": {"kind": "process", "command": ["sh"]}}, "/runner/command"),
        ({"runner": None}, "/runner"),
        ({"interface": None}, "/interface"),
        ({"interface": {}}, "/interface/endpoint"),
        ({"interface": {"endpoint": "/a"}}, "/interface/endpoint"),
        ({"interface": {"endpoint": "a/../b"}}, "/interface/endpoint"),
        ({"interface": {"endpoint": "a?b"}}, "/interface/endpoint"),
        (
            {"interface": {"endpoint": "a", "outputSchema": {"type": "shape"}}},
            "/interface/outputSchema",
        ),
        (
            {
                "interface": {
                    "endpoint": "a",
                    "outputSchema": {"$ref": "http://127.0.0.1/x"},
                }
            },
            "/interface/outputSchema",
        ),
        (
            {"interface": {"endpoint": "a", "inputPipeline": [{"kind": "Exec"}]}},
            "/interface/inputPipeline",
        ),
        (
            {
                "interface": {
                    "endpoint": "a",
                    "outputPipeline": [{"kind": "Select", "configuration": {"x": 1}}],
                }
            },
            "/interface/outputPipeline",
        ),
    ],
)
def test_what_could_not_be_run_or_called_is_refused(api, changes, pointer):
    status, told, _ = refusal(api, **changes)
    assert (status, told) == (400, pointer)


def test_a_process_that_is_listed_can_be_named(api, commands):
    commands(wine=[])
    service = created(api, runner={"kind": "process", "process": "wine"})
    assert service["runner"] == {"kind": "process", "process": "wine"}


def test_other_projects_see_nothing(api, api_as):
    service = created(api)
    foreign = api_as(Role.ADMINISTRATOR, Project.objects.create(project_id="other"))
    assert foreign.get(PATH).json()["results"] == []
    for method in ("get", "delete"):
        response = getattr(foreign, method)(f"{PATH}/{service['id']}")
        absent = getattr(foreign, method)(f"{PATH}/{'0' * 32}")
        assert response.status_code == absent.status_code == 404
        told, nothing = response.json(), absent.json()
        assert told | {"request_id": None} == nothing | {"request_id": None}
    assert InferenceService.objects.exists()


def test_viewers_look_and_editors_change(api, api_as):
    service = created(api)
    viewer = api_as(Role.VIEWER)
    assert viewer.get(f"{PATH}/{service['id']}").status_code == 200
    assert viewer.post(PATH, description()).status_code == 403
    assert viewer.delete(f"{PATH}/{service['id']}").status_code == 403
    assert api.delete(f"{PATH}/{service['id']}").status_code == 204
    assert api.get(f"{PATH}/{service['id']}").status_code == 404


def test_a_service_with_live_sessions_stays(api, make_service, make_session):
    service = make_service("url", url="http://127.0.0.1:9000")
    session, _ = make_session(service)
    response = api.delete(f"{PATH}/{service.id.hex}")
    assert (response.status_code, response.json()["code"]) == (409, "service-in-use")
    api.post(f"/api/v1/inferencesessions/{session.id.hex}/terminate")
    assert api.delete(f"{PATH}/{service.id.hex}").status_code == 204


def test_a_person_names_the_project(client, django_user_model, project):
    other = Project.objects.create(project_id="other")
    foreign = Project.objects.create(project_id="foreign")
    person = django_user_model.objects.create_user("ann")
    for each in (project, other):
        each.memberships.create(user=person, role=Role.EDITOR)
    client.force_login(person)

    def post(account: str):
        body = description(account=account)
        return client.post(PATH, body, content_type="application/json")

    assert post("other").json()["project_id"] == "other"
    for account in ("foreign", "nowhere"):
        response = post(account)
        assert response.status_code == 400
        assert response.json()["errors"][0]["pointer"] == "/account"
    assert not foreign.services.exists()


def test_a_service_may_name_a_model_that_is_not_registered(api):
    assert created(api, model_id="elsewhere")["model"]["id"] == "elsewhere"
    assert not RegisteredModel.objects.exists()


# -- mocks


@pytest.mark.parametrize("mock", ["text-completion", "TextCompletion"])
def test_a_mock_brings_its_interface(api, mock):
    response = api.post(f"{PATH}/mock", {"account": "a", "mock": mock})
    assert response.status_code == 201
    service = response.json()
    assert service["name"] == mock
    assert service["runner"] == {"kind": "mock", "mock": mock}
    assert service["interface"]["endpoint"] == "generate"
    assert service["interface"]["outputSchema"]["type"] == "array"


def test_every_mock_of_the_registry_can_be_a_service(api):
    for name in mocks.registry:
        response = api.post(f"{PATH}/mock", {"account": "a", "mock": name})
        assert response.status_code == 201, response.content


@pytest.mark.parametrize(
    ("mock", "endpoint"),
    [
        ("chat", "v1/chat/completions"),
        ("text-completion", "v1/completions"),
        ("text-embedding", "v1/embeddings"),
    ],
)
def test_a_mock_of_text_speaks_openai_s_protocol_when_asked_to(api, mock, endpoint):
    given = {"account": "a", "mock": mock, "protocol": "openai"}
    service = api.post(f"{PATH}/mock", given).json()
    assert service["interface"]["endpoint"] == endpoint
    assert service["interface"]["inputPipeline"]
    given["protocol"] = "json"
    service = api.post(f"{PATH}/mock", given).json()
    assert service["interface"]["endpoint"] == mocks.find(mock).interface.endpoint


@pytest.mark.parametrize(
    ("given", "pointer"),
    [
        ({"mock": "object-detection", "protocol": "openai"}, "/protocol"),
        ({"mock": "chat", "protocol": "grpc"}, "/protocol"),
        ({"mock": "os.system"}, "/mock"),
        ({"mock": "../chat"}, "/mock"),
        ({"mock": ["chat"]}, "/mock"),
        ({"mock": "chat", "options": {"seed": -1}}, "/options"),
        ({"mock": "chat", "options": {"latency": 1000}}, "/options"),
        ({"mock": "chat", "options": {"colour": "red"}}, "/options"),
        ({"mock": "chat", "options": []}, "/options"),
    ],
)
def test_a_mock_that_is_not_known_is_refused(api, given, pointer):
    response = api.post(f"{PATH}/mock", {"account": "a", **given})
    assert response.status_code == 400
    assert response.json()["errors"][0]["pointer"] == pointer


def test_a_mock_s_session_is_ready_at_once(api):
    service = api.post(f"{PATH}/mock", {"account": "a", "mock": "chat"}).json()
    body = {"account": "a", "inferenceService": service["id"]}
    told = api.post("/api/v1/inferencesessions", body).json()
    session = told["inferencesession"]
    assert session["status"] == "Ready"
    ready = api.get(f"/api/v1/inferencesessions/{session['id']}/ready")
    assert (ready.status_code, ready.json()["ready"]) == (200, True)
