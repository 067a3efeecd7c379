"""The local platform: the flow of a session, as it runs against a server."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone

import pytest

from inference_store import errors
from inference_store.adapters import AdapterError
from inference_store.local import LocalPlatform, SessionEnded, SessionNotReady, mocks
from inference_store.schema import (
    InferenceInterface,
    InferenceSessionCreateRequest,
    is_status_terminal,
)

ASKED = {"text": "A ship enters the harbour and"}


@pytest.fixture
def platform(tmp_path):
    return LocalPlatform(tmp_path / "some" / "dir", starting_seconds=0)


def started(platform, mock=mocks.TextCompletion, *, expires=None, **options):
    service = platform.inferenceservices.create_mock(mock, account="team-a", **options)
    return platform.inferencesessions.create(
        InferenceSessionCreateRequest(
            account="team-a", inferenceService=service.id, expires=expires
        )
    )


def test_the_flow_as_it_is_documented(tmp_path, capsys):
    platform = LocalPlatform(storage_root=tmp_path, starting_seconds=0.2)
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
    failures = 0
    while True:
        try:
            answer = client.infer(ASKED)
            break
        except SessionNotReady:
            assert not is_status_terminal(
                platform.inferencesessions.get(session.id).status
            )
            failures += 1
            time.sleep(0.05)
    assert failures
    assert len(answer) == 2
    assert all(each["text"].startswith(ASKED["text"]) for each in answer)
    print(session)
    assert json.loads(capsys.readouterr().out)["inferenceService"]["id"] == service.id


def test_a_call_before_the_session_is_ready_is_an_error_of_its_own(tmp_path):
    platform = LocalPlatform(tmp_path, starting_seconds=60)
    created = started(platform)
    sessions = platform.inferencesessions
    assert created.inferencesession.status == "Admitted"
    assert sessions.ready(created.inferencesession.id) is False
    with pytest.raises(SessionNotReady) as raised:
        sessions.client(
            created.inferencesession.id, created.token, endpoint="generate"
        ).infer(ASKED)
    assert raised.value.status == 503


def test_a_terminated_session_never_answers_again(platform):
    created = started(platform)
    sessions, session_id = platform.inferencesessions, created.inferencesession.id
    client = sessions.client(session_id, created.token, endpoint="generate")
    assert sessions.ready(session_id) is True
    assert client.infer(ASKED)
    assert sessions.terminate(session_id).status == "Terminated"
    assert sessions.terminate(session_id).reason == "Terminated on request"
    assert is_status_terminal(sessions.get(session_id).status)
    for call in (
        lambda: client.infer(ASKED),
        lambda: sessions.ready(session_id),
        lambda: sessions.token(session_id),
    ):
        with pytest.raises(SessionEnded):
            call()


def test_a_session_ends_when_it_expires(platform):
    soon = datetime.now(timezone.utc) + timedelta(seconds=0.3)
    session_id = started(platform, expires=soon).inferencesession.id
    assert platform.inferencesessions.get(session_id).status == "Ready"
    time.sleep(0.35)
    found = platform.inferencesessions.get(session_id)
    assert (found.status, found.reason) == ("Terminated", "Expired")
    with pytest.raises(ValueError, match="past"):
        started(platform, expires=soon)


def test_a_token_is_not_looked_at_where_there_is_no_server(platform):
    created = started(platform)
    sessions, session_id = platform.inferencesessions, created.inferencesession.id
    for token in (created.token, created.session, sessions.token(session_id), "", "x"):
        assert sessions.client(session_id, token, endpoint="generate").infer(ASKED)


def test_a_ported_program_runs_at_once(tmp_path):
    from inference_store.local import DyffLocalPlatform, mocks
    from inference_store.schema.platform import is_status_terminal
    from inference_store.schema.requests import InferenceSessionCreateRequest

    platform = DyffLocalPlatform(storage_root=tmp_path)
    service = platform.inferenceservices.create_mock(
        mocks.TextCompletion, account="team-a"
    )
    assert json.loads(service.json(indent=2))["id"] == service.id
    created = platform.inferencesessions.create(
        InferenceSessionCreateRequest(account="team-a", inferenceService=service.id)
    )
    session, token = created.inferencesession, created.session
    client = platform.inferencesessions.client(
        session.id, token, interface=session.inferenceService.interface
    )

    answers = client.infer({"text": "Open the pod bay doors, Hal!"})

    assert answers and all(each["text"] for each in answers)
    assert not is_status_terminal(platform.inferencesessions.get(session.id).status)


def test_no_file_holds_a_token(platform):
    token = started(platform).token
    kept = [path for path in platform.storage_root.rglob("*") if path.is_file()]
    assert len(kept) == 4
    assert not any(token in path.read_text() or token in path.name for path in kept)


def test_another_process_sees_the_session_and_ends_it(platform):
    created = started(platform, seed=7)
    session_id = created.inferencesession.id
    program = f"""
from inference_store.local import LocalPlatform
platform = LocalPlatform({str(platform.storage_root)!r})
sessions = platform.inferencesessions
interface = sessions.get({session_id!r}).inferenceService.interface
client = sessions.client({session_id!r}, {created.token!r}, interface=interface)
import json
print(json.dumps(client.infer({ASKED!r})))
sessions.terminate({session_id!r})
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == mocks.TextCompletion(seed=7).infer(ASKED)
    assert platform.inferencesessions.get(session_id).status == "Terminated"


def test_the_pipelines_of_the_interface_are_applied(platform):
    created = started(platform)
    interface = InferenceInterface(
        endpoint="generate",
        inputPipeline=[{"kind": "Rename", "configuration": {"prompt": "text"}}],
        outputPipeline=[
            {"kind": "TransformJSON", "configuration": {"said": "$.text"}},
        ],
    )
    client = platform.inferencesessions.client(
        created.inferencesession.id, created.token, interface=interface
    )
    answer = client.infer({"prompt": "A ship"})
    assert answer and all(each.keys() == {"said"} for each in answer)
    with pytest.raises(AdapterError, match=r"step 1 \(Rename\)"):
        client.infer({"text": "A ship"})


@pytest.mark.parametrize(
    ("mock", "endpoint", "member"),
    [
        (mocks.Chat, "v1/chat/completions", "content"),
        (mocks.TextCompletion, "v1/completions", "text"),
        (mocks.TextEmbedding, "v1/embeddings", "embedding"),
    ],
)
def test_mocks_of_text_speak_openai_s_protocol(platform, mock, endpoint, member):
    created = started(platform, mock, protocol="openai", seed=3)
    session = created.inferencesession
    assert session.inferenceService.interface.endpoint == endpoint
    sessions = platform.inferencesessions
    client = sessions.client(
        session.id, created.token, interface=session.inferenceService.interface
    )
    said = [each[member] for each in client.infer(ASKED)]
    own = [each[member] for each in mock(seed=3).infer({**ASKED, "n": 1})]
    if mock is mocks.TextCompletion:
        own = [each.removeprefix(ASKED["text"]) for each in own]
    assert said == own
    plain = sessions.client(session.id, created.token, endpoint=endpoint)
    asked = {"messages": [{"role": "user", "content": "A ship?"}]}
    (whole,) = plain.infer({**asked, "prompt": "A", "input": "A", "stream": True})
    assert whole["object"] in ("chat.completion", "text_completion", "list")


@pytest.mark.parametrize(
    ("mock", "protocol"), [(mocks.ObjectDetection, "openai"), (mocks.Chat, "grpc")]
)
def test_a_protocol_that_a_mock_does_not_speak_is_refused(platform, mock, protocol):
    with pytest.raises(ValueError, match="does not speak"):
        platform.inferenceservices.create_mock(mock, account="a", protocol=protocol)


def test_a_pipeline_makes_one_request_of_one(platform):
    created = started(platform)
    interface = InferenceInterface(
        endpoint="generate",
        inputPipeline=[
            {"kind": "ExplodeCollections", "configuration": {"collections": ["text"]}}
        ],
    )
    client = platform.inferencesessions.client(
        created.inferencesession.id, created.token, interface=interface
    )
    assert client.infer({"text": ["A ship"]})
    with pytest.raises(AdapterError, match="2 requests of one"):
        client.infer({"text": ["A", "B"]})


def test_what_a_mock_refuses_or_fails_with_is_an_error_of_the_client(platform):
    def ask(request, endpoint="generate", **options):
        created = started(platform, **options)
        return platform.inferencesessions.client(
            created.inferencesession.id, created.token, endpoint=endpoint
        ).infer(request)

    with pytest.raises(errors.ValidationError):
        ask({"txt": 1})
    with pytest.raises(errors.Unavailable):
        ask(ASKED, error_rate=1)
    with pytest.raises(errors.NotFound):
        ask(ASKED, endpoint="other")
    with pytest.raises(ValueError, match="endpoint"):
        ask(ASKED, endpoint=None)


@pytest.mark.parametrize("wrong", ["", "0" * 32, "../../etc", "A" * 32])
def test_what_is_not_there_is_not_found(platform, wrong):
    with pytest.raises(errors.NotFound):
        platform.inferenceservices.get(wrong)
    with pytest.raises(errors.NotFound):
        platform.inferencesessions.get(wrong)
    with pytest.raises(errors.NotFound):
        platform.inferencesessions.create({"account": "a", "inferenceService": wrong})


def test_services_and_sessions_are_listed_in_the_order_they_were_made(platform):
    made = [started(platform, name).inferencesession for name in sorted(mocks.registry)]
    services = platform.inferenceservices.query()
    assert [each.name for each in services] == sorted(mocks.registry)
    listed = platform.inferencesessions.query()
    assert [each.id for each in listed] == [each.id for each in made]


@pytest.mark.parametrize("options", [{"seeds": 3}, {"latency": "long"}])
def test_a_service_with_wrong_options_is_not_made(platform, options):
    with pytest.raises(ValueError):
        started(platform, **options)
    assert platform.inferenceservices.query() == []
