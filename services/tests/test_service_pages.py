import json

import pytest
from django.contrib.auth.models import User

from istore.models import Membership, Project, Role
from services import calling
from services.calling import Called
from services.models import InferenceService, InferenceSession, Status
from services.sessions import note_failed

pytestmark = pytest.mark.django_db


@pytest.fixture
def sign_in(client, project):
    """``sign_in(Role.EDITOR)``: the browser of a person with this role."""

    def enter(role: Role = Role.EDITOR, of: Project | None = None):
        user = User.objects.create_user(f"ann-{role}")
        Membership.objects.create(user=user, project=of or project, role=role)
        client.force_login(user)
        return client

    return enter


@pytest.fixture
def other(db) -> Project:
    return Project.objects.create(project_id="other")


def test_the_list_says_what_there_is_and_what_runs(sign_in, make_service, make_session):
    service = make_service(name="pilot's ear")
    make_session(service)
    page = sign_in(Role.VIEWER).get("/services").content.decode()
    assert "pilot&#x27;s ear" in page
    assert "1 ready" in page
    assert "Try a mock" not in page


def test_an_empty_list_says_why(sign_in):
    page = sign_in().get("/services").content.decode()
    assert "No services yet" in page
    assert "Object detection" in page


def test_a_mock_is_started_with_one_click_and_shows_its_token_once(sign_in):
    browser = sign_in()
    asked = {"project": "harbour", "mock": "object-detection"}
    answer = browser.post("/services/mocks", asked)
    page = answer.content.decode()
    (session,) = InferenceSession.objects.all()
    assert session.status == Status.READY
    assert session.service.endpoint == "detect"
    (token,) = session.tokens.all()
    assert page.count(token.prefix) == 1
    assert "no-store" in answer["Cache-Control"]
    again = browser.get(f"/services/{session.service_id}").content.decode()
    assert token.prefix not in again
    assert "Call detect" in again


@pytest.mark.parametrize(
    ("mock", "endpoint"), [("chat", "v1/chat/completions"), ("segmentation", "segment")]
)
def test_mocks_of_text_are_started_as_openai_compatible_servers(
    sign_in, mock, endpoint
):
    asked = {"project": "harbour", "mock": mock, "speaks_openai": "on"}
    page = sign_in().post("/services/mocks", asked).content.decode()
    (service,) = InferenceService.objects.all()
    assert service.endpoint == endpoint
    assert f"Call {endpoint}" in page


@pytest.mark.parametrize(
    "given", [{"mock": "os.system"}, {"project": "other"}, {"project": "nowhere"}]
)
def test_other_mocks_and_projects_are_not_there(sign_in, other, given):
    asked = {"project": "harbour", "mock": "chat", **given}
    assert sign_in().post("/services/mocks", asked).status_code == 404
    assert not InferenceService.objects.exists()


def test_a_viewer_looks_and_changes_nothing(sign_in, make_service, make_session):
    service = make_service()
    session, _ = make_session(service)
    browser = sign_in(Role.VIEWER)
    page = browser.get(f"/services/{service.pk}").content.decode()
    assert "Terminate" not in page.replace('visually-hidden">Terminate', "")
    assert "Call it" not in page
    for path in (
        f"/services/{service.pk}/sessions",
        f"/services/{service.pk}/delete",
        f"/sessions/{session.pk}/terminate",
        f"/sessions/{session.pk}/call",
    ):
        assert browser.post(path, {"replicas": 1, "life": "1"}).status_code == 403
    assert browser.get("/services/new").status_code == 403


def test_other_projects_are_not_there(sign_in, make_service, make_session, other):
    service = make_service(name="theirs", project=other)
    session, _ = make_session(service)
    browser = sign_in()
    assert "theirs" not in browser.get("/services").content.decode()
    assert browser.get(f"/services/{service.pk}").status_code == 404
    for path in (
        f"/services/{service.pk}/sessions",
        f"/services/{service.pk}/delete",
        f"/sessions/{session.pk}/terminate",
        f"/sessions/{session.pk}/call",
    ):
        assert browser.post(path, {"replicas": 1, "life": "1"}).status_code == 404


def test_nobody_is_sent_to_the_log_in(client, make_service):
    service = make_service()
    for path in ("/services", "/services/new", f"/services/{service.pk}"):
        answer = client.get(path)
        assert answer.status_code == 302 and "/login" in answer["Location"]


def test_a_session_is_started_and_terminated(sign_in, make_service):
    service, browser = make_service(), sign_in()
    answer = browser.post(
        f"/services/{service.pk}/sessions", {"replicas": 2, "life": "8"}
    )
    (session,) = service.sessions.all()
    assert session.replicas == 2
    assert "iss_" in answer.content.decode()
    answer = browser.post(f"/sessions/{session.pk}/terminate", follow=True)
    assert "has ended" in answer.content.decode()
    session.refresh_from_db()
    assert session.status == Status.TERMINATED


@pytest.mark.parametrize(
    "given", [{"replicas": 0}, {"replicas": 99}, {"life": "12"}, {"replicas": "x"}]
)
def test_a_session_that_cannot_be_is_told_on_the_form(sign_in, make_service, given):
    service, browser = make_service(), sign_in()
    asked = {"replicas": 1, "life": "1", **given}
    answer = browser.post(f"/services/{service.pk}/sessions", asked)
    assert answer.status_code == 400
    assert "field-error" in answer.content.decode()
    assert not service.sessions.exists()


def test_too_many_sessions_are_told(sign_in, make_service, settings):
    settings.ISTORE_SESSIONS_OPEN = 0
    service, browser = make_service(), sign_in()
    asked = {"replicas": 1, "life": "1"}
    answer = browser.post(f"/services/{service.pk}/sessions", asked, follow=True)
    assert "cannot be started" in answer.content.decode()


def test_sessions_that_start_are_asked_for_again(sign_in, make_service, make_session):
    service = make_service("url", url="http://127.0.0.1:9000")
    session, _ = make_session(service)
    browser = sign_in()
    path = f"/services/{service.pk}"
    part = browser.get(path, headers={"HX-Request": "true"}).content.decode()
    assert 'hx-trigger="every 2s"' in part and "<html" not in part
    note_failed(session, "The disk <is> full.")
    part = browser.get(path, headers={"HX-Request": "true"}).content.decode()
    assert "hx-trigger" not in part
    assert "The disk &lt;is&gt; full." in part


def test_a_service_is_described_by_a_form(sign_in):
    browser = sign_in()
    given = {
        "project": "harbour",
        "name": "assistant",
        "runner": "url",
        "url": "http://127.0.0.1:9000",
        "protocol": "openai",
        "endpoint": "v1/chat/completions",
        "output_schema": '{"type": "object"}',
    }
    answer = browser.post("/services/new", given)
    (service,) = InferenceService.objects.all()
    assert answer["Location"] == f"/services/{service.pk}"
    assert service.configuration == {
        "url": "http://127.0.0.1:9000",
        "protocol": "openai",
    }
    assert service.output_schema == {"type": "object"}


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"url": ""}, "url"),
        ({"url": "http://10.0.0.1"}, "url"),
        ({"runner": "process:wine"}, "runner"),
        ({"protocol": "v2"}, "model"),
        ({"endpoint": "/a"}, "endpoint"),
        ({"output_schema": "{"}, "output_schema"),
        ({"output_schema": "[]"}, "output_schema"),
        ({"output_schema": '{"type": "shape"}'}, "output_schema"),
        ({"name": ""}, "name"),
    ],
)
def test_what_is_not_right_is_told_beside_its_field(sign_in, given, field):
    asked = {
        "project": "harbour",
        "name": "assistant",
        "runner": "url",
        "url": "http://127.0.0.1:9000",
        "protocol": "openai",
        "endpoint": "chat",
        **given,
    }
    answer = sign_in().post("/services/new", asked)
    assert answer.status_code == 400
    assert f"id_{field}_error" in answer.content.decode()
    assert not InferenceService.objects.exists()


def test_a_listed_command_can_be_chosen(sign_in, commands):
    commands(wine=[])
    browser = sign_in()
    assert "Command: wine" in browser.get("/services/new").content.decode()
    given = {
        "project": "harbour",
        "name": "wine",
        "runner": "process:wine",
        "protocol": "json",
        "endpoint": "predict",
    }
    assert browser.post("/services/new", given).status_code == 302
    assert InferenceService.objects.get().configuration == {"process": "wine"}


def test_a_service_is_removed_once_nothing_runs(sign_in, make_service, make_session):
    service, browser = make_service(), sign_in()
    session, _ = make_session(service)
    path = f"/services/{service.pk}/delete"
    assert "Terminate them first" in browser.post(path, follow=True).content.decode()
    browser.post(f"/sessions/{session.pk}/terminate")
    assert "is removed" in browser.post(path, follow=True).content.decode()
    assert not InferenceService.objects.exists()


def test_calling_shows_the_answer(sign_in, make_service, make_session, monkeypatch):
    session, _ = make_session(make_service())
    asked = []

    def answer(actor, session, request):
        asked.append(request)
        return Called(text='[{"text": "<b>"}]', seconds=0.01)

    monkeypatch.setattr(calling, "call", answer)
    browser = sign_in()
    path = f"/sessions/{session.pk}/call"
    page = browser.post(path, {"request": '{"text": "A ship"}'}).content.decode()
    assert asked == [{"text": "A ship"}]
    assert "&lt;b&gt;" in page and "not stored" in page
    page = browser.post(path, {"request": "{"})
    assert page.status_code == 400
    assert len(asked) == 1


def test_a_proxy_that_is_gone_is_told_on_the_page(
    sign_in, make_service, make_session, settings
):
    settings.ISTORE_PROXY_INTERNAL_URL = "http://127.0.0.1:9"
    session, _ = make_session(make_service())
    browser = sign_in()
    page = browser.post(f"/sessions/{session.pk}/call", {"request": "{}"})
    assert page.status_code == 200
    assert "The proxy does not answer" in page.content.decode()


@pytest.mark.parametrize("name", ["chat", "segmentation", "tabular-regression"])
def test_the_form_begins_with_a_request_that_the_mock_understands(make_service, name):
    from inference_store import mocks

    from services.examples import example_for

    mock = mocks.create(name)
    service = make_service("mock", mock=name, endpoint=mock.interface.endpoint)
    assert mock.infer(json.loads(json.dumps(example_for(service))))


@pytest.mark.parametrize("name", ["chat", "text-completion", "text-embedding"])
def test_the_form_speaks_the_protocol_of_a_mock_that_speaks_openai_s(
    make_service, name
):
    from inference_store import mocks
    from inference_store.mocks import openai

    from services.examples import example_for

    mock = mocks.create(name)
    path = openai.path_of(type(mock))
    service = make_service("mock", mock=name, endpoint=path.strip("/"))
    assert openai.answer(mock, path, example_for(service))
    service.input_pipeline = openai.interface_of(type(mock)).inputPipeline
    assert example_for(service).keys() == {"text"}


def test_the_administration_shows_and_ends_sessions(
    admin_client, make_service, make_session
):
    session, _ = make_session(make_service())
    for path in ("inferenceservice", "inferencesession"):
        assert admin_client.get(f"/admin/services/{path}/").status_code == 200
    page = f"/admin/services/inferencesession/{session.pk}/change/"
    assert admin_client.get(page).status_code == 200
    chosen = {"action": "terminate", "_selected_action": [str(session.pk)]}
    admin_client.post("/admin/services/inferencesession/", chosen)
    session.refresh_from_db()
    assert session.status == Status.TERMINATED
