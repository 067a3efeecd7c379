"""The flow of the client against a server: API and proxy, as a store runs them."""

import asyncio
import time

import pytest
import requests
from django.contrib.auth.models import User
from django.test import Client as Browser
from inference_store import Client, adapters, errors, mocks
from inference_store.aio import AsyncClient
from inference_store.schema import (
    InferenceSessionCreateRequest,
    RunnerKind,
    is_status_terminal,
)

from istore.models import Role
from proxy.tests.conftest import Store, wait_until
from proxy.tests.openai_upstream import OpenAIUpstream
from services.session_reaper import tend

pytestmark = pytest.mark.django_db


@pytest.fixture
def platform(live_api, proxied, store, settings):
    settings.ISTORE_PROXY_URL = settings.ISTORE_PROXY_INTERNAL_URL = proxied.url
    with Client(live_api, store.secret) as client:
        yield client


@pytest.fixture
def completions():
    server = OpenAIUpstream()
    server.start()
    return server


def test_the_flow_of_a_mock_as_it_is_written_for_the_local_platform(platform):
    service = platform.inferenceservices.create_mock(
        mocks.TextCompletion, account="team-a"
    )
    created = platform.inferencesessions.create(
        InferenceSessionCreateRequest(account="team-a", inferenceService=service.id)
    )
    session, token = created.inferencesession, created.token
    client = platform.inferencesessions.client(
        session.id, token, interface=session.inferenceService.interface
    )
    while True:
        try:
            answers = client.infer({"text": "A ship enters the harbour and"})
            break
        except errors.Unavailable:
            status = platform.inferencesessions.get(session.id).status
            assert not is_status_terminal(status)
            time.sleep(1)
    assert answers == mocks.TextCompletion().infer(
        {"text": "A ship enters the harbour and"}
    )
    assert created.session == token
    assert f'"id": "{service.id}"' in str(service)
    assert service.runner.kind == RunnerKind.MOCK


def test_a_server_that_starts_late_is_waited_for(platform, store, completions):
    port, completions_url = completions.port, completions.url
    completions.stop()
    service = platform.inferenceservices.create(
        account="a",
        name="chat",
        runner={"kind": "url", "url": completions_url, "protocol": "openai"},
        interface={
            "endpoint": "v1/chat/completions",
            "outputSchema": {"type": "object", "required": ["choices"]},
            "inputPipeline": [
                {
                    "kind": "TransformJSON",
                    "configuration": {
                        "model": "m",
                        "messages": [{"role": "user", "content": "$.text"}],
                    },
                }
            ],
            "outputPipeline": [
                {
                    "kind": "ExplodeCollections",
                    "configuration": {"collections": ["choices"]},
                }
            ],
        },
    )
    created = platform.inferencesessions.create(
        InferenceSessionCreateRequest(account="a", inferenceService=service.id)
    )
    session = created.inferencesession
    client = platform.inferencesessions.client(
        session.id, created.token, interface=session.inferenceService.interface
    )
    assert session.status == "Created"
    assert client.ready() is False
    assert platform.inferencesessions.get(session.id).status == "Admitted"
    with pytest.raises(errors.Unavailable) as raised:
        client.infer({"text": "A ship"})
    assert raised.value.code == "session-starting"
    late = OpenAIUpstream(port=port)
    late.start()
    try:
        store.thread.submit(tend).result()
        assert platform.inferencesessions.get(session.id).status == "Ready"
        assert client.ready() is True
        (answer,) = client.infer({"text": "A ship"})
        assert "ship" in str(answer)
    finally:
        late.stop()


def test_a_session_is_terminated_and_its_client_hears_of_it(platform):
    service = platform.inferenceservices.create_mock(mocks.Chat, account="a", seed=3)
    created = platform.inferencesessions.create(
        InferenceSessionCreateRequest(account="a", inferenceService=service.id)
    )
    session_id = created.inferencesession.id
    sessions = platform.inferencesessions
    client = sessions.client(session_id, created.token)
    request = {"messages": [{"role": "user", "content": "A ship?"}]}
    assert client.infer(request) == mocks.Chat(seed=3).infer(request)
    further = sessions.client(session_id, sessions.token(session_id))
    assert further.infer(request)
    assert [each.id for each in sessions.query(inferenceService=service.id)] == [
        session_id
    ]
    with pytest.raises(errors.Conflict) as raised:
        platform.inferenceservices.delete(service.id)
    assert raised.value.code == "service-in-use"
    ended = sessions.terminate(session_id)
    assert is_status_terminal(ended.status)
    with pytest.raises(errors.Conflict) as raised:
        client.ready()
    assert raised.value.code == "session-terminated"

    def is_over() -> bool:
        try:
            client.infer(request)
        except errors.Conflict:
            return True
        return False

    wait_until(is_over, 3)
    platform.inferenceservices.delete(service.id)
    with pytest.raises(errors.NotFound):
        platform.inferenceservices.get(service.id)
    with pytest.raises(errors.NotFound):
        sessions.get(session_id)


def test_the_same_flow_is_awaited(platform, store):
    request = {"text": "A ship enters the harbour and"}

    async def flow() -> list:
        async with AsyncClient(platform.url, store.secret) as awaited:
            services, sessions = awaited.inferenceservices, awaited.inferencesessions
            service = await services.create_mock(mocks.TextCompletion, account="a")
            created = await sessions.create(
                InferenceSessionCreateRequest(account="a", inferenceService=service.id)
            )
            session_id = created.inferencesession.id
            client = await sessions.client(session_id, created.token)
            assert await client.ready()
            answer = await client.infer(request)
            assert is_status_terminal((await sessions.terminate(session_id)).status)
            with pytest.raises(errors.Conflict):
                await client.ready()
            await services.delete(service.id)
            return answer

    assert asyncio.run(flow()) == mocks.TextCompletion().infer(request)


@pytest.mark.parametrize("mock", [mocks.Chat, mocks.TextEmbedding])
def test_a_mock_that_speaks_openai_s_protocol_is_asked_in_the_common_form(
    platform, mock
):
    service = platform.inferenceservices.create_mock(
        mock, account="a", protocol="openai"
    )
    assert service.interface.endpoint.startswith("v1/")
    created = platform.inferencesessions.create(
        InferenceSessionCreateRequest(account="a", inferenceService=service.id)
    )
    client = platform.inferencesessions.client(
        created.inferencesession.id, created.token, interface=service.interface
    )
    request = {"text": "A ship enters the harbour and"}
    assert client.infer(request) == mock().infer(request)


def test_what_an_adapter_cannot_do_is_not_sent(platform):
    service = platform.inferenceservices.create_mock("text-completion", account="a")
    created = platform.inferencesessions.create(
        InferenceSessionCreateRequest(account="a", inferenceService=service.id)
    )
    interface = service.interface.model_copy()
    interface.inputPipeline = [{"kind": "Select", "configuration": {"fields": ["x"]}}]
    client = platform.inferencesessions.client(
        created.inferencesession.id, created.token, interface=interface
    )
    with pytest.raises(adapters.AdapterError):
        client.infer({"text": "A ship"})


def test_the_api_passes_calls_on_to_the_proxy(platform, live_api, proxied, store):
    store.model("", "writer")
    service = platform.inferenceservices.create_mock(
        "text-completion", account="a", model_id="writer"
    )
    created = platform.inferencesessions.create(
        InferenceSessionCreateRequest(account="a", inferenceService=service.id)
    )
    url = f"{live_api}/api/v1/inferencesessions/{created.inferencesession.id}"
    for secret in (created.token, store.secret):
        answer = requests.post(
            f"{url}/infer/generate",
            json={"text": "A ship"},
            headers={
                "Authorization": f"Bearer {secret}",
                "Accept": "text/event-stream",
            },
            timeout=20,
        )
        assert answer.status_code == 200
        assert answer.headers["Inference-Store"] == "recorded"
        assert len(answer.json()) == 2
    proxied.marker(answer.headers["Inference-Id"])


def test_a_person_s_browser_may_call_too(live_api, proxied, store, settings):
    """Without a token to show: the API gets one for the call, and shows it the proxy."""
    settings.ISTORE_PROXY_INTERNAL_URL = proxied.url
    session, _ = store.session("mock", {"mock": "text-completion"})
    cookies = store.thread.submit(signed_in, store).result()
    try:
        answer = requests.post(
            f"{live_api}/api/v1/inferencesessions/{session.id.hex}/infer/generate",
            json={"text": "A ship"},
            cookies=cookies,
            headers={"X-CSRFToken": cookies["csrftoken"]},
            timeout=20,
        )
    finally:
        store.thread.submit(User.objects.all().delete).result()
    assert answer.status_code == 200
    assert answer.json()[0]["text"].startswith("A ship")


def signed_in(store: Store) -> dict[str, str]:
    """The cookies of an editor."""
    person = User.objects.create_user("ann")
    store.projects[0].memberships.create(user=person, role=Role.EDITOR)
    browser = Browser()
    browser.force_login(person)
    return {"sessionid": browser.cookies["sessionid"].value, "csrftoken": "c" * 32}
