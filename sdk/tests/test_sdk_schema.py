"""Services and sessions as they are on the wire."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from inference_store.schema import (
    InferenceInterface,
    InferenceService,
    InferenceServiceStatus,
    InferenceSession,
    InferenceSessionAndToken,
    InferenceSessionCreateRequest,
    InferenceSessionStatus,
    is_status_terminal,
)

SERVICE = {
    "id": "s-1",
    "account": "team-a",
    "name": "writer",
    "interface": {"endpoint": "generate", "outputSchema": {"type": "array"}},
    "status": "Ready",
    "runner": {"kind": "mock", "mock": "text-completion", "options": {"seed": 3}},
}
SESSION = {
    "id": "i-1",
    "account": "team-a",
    "inferenceService": SERVICE,
    "replicas": 2,
    "status": "Admitted",
    "expires": "2026-01-01T00:00:00Z",
}


def test_names_are_those_of_the_wire():
    session = InferenceSession.model_validate(SESSION)
    assert session.inferenceService.interface.endpoint == "generate"
    assert session.expires.isoformat() == "2026-01-01T00:00:00+00:00"
    assert session.status == "Admitted" == InferenceSessionStatus.ADMITTED


def test_every_object_prints_as_json_that_reads_as_the_same_object():
    session = InferenceSession.model_validate(SESSION)
    created = InferenceSessionAndToken(inferencesession=session, token="t-1")
    service = InferenceService.model_validate(SERVICE)
    asked = InferenceSessionCreateRequest(account="team-a", inferenceService="s-1")
    for said in (session, created, service, service.interface, asked):
        assert type(said).model_validate(json.loads(str(said))) == said


def test_the_token_has_its_older_name_too():
    created = InferenceSessionAndToken.model_validate(
        {"inferencesession": SESSION, "session": "t-1"}
    )
    assert created.token == created.session == "t-1"
    wire = json.loads(str(created))
    assert wire["token"] == wire["session"] == "t-1"


def test_the_pipelines_of_an_interface_are_optional():
    interface = InferenceInterface(endpoint="generate")
    assert interface.inputPipeline is None
    assert interface.outputPipeline is None


@pytest.mark.parametrize("status", ["Terminated", "Error", "Failed", "Deleted"])
def test_terminal(status):
    assert is_status_terminal(status)


@pytest.mark.parametrize("status", ["Created", "Admitted", "Ready", "", None])
def test_not_terminal(status):
    assert not is_status_terminal(status)


def test_members_are_judged_as_their_text():
    assert is_status_terminal(InferenceSessionStatus.TERMINATED)
    assert not is_status_terminal(InferenceSessionStatus.READY)


def test_a_status_and_a_field_of_a_later_version_are_kept():
    service = InferenceService.model_validate(
        {**SERVICE, "status": "Paused", "colour": "red"}
    )
    assert service.status == "Paused"
    assert json.loads(str(service))["colour"] == "red"
    known = InferenceService.model_validate(SERVICE)
    assert known.status is InferenceServiceStatus.READY


@pytest.mark.parametrize(
    "wrong", [{"replicas": 0}, {"replica": 1}, {"inferenceService": None}]
)
def test_a_request_that_cannot_be_right_is_not_made(wrong):
    right = {"account": "team-a", "inferenceService": "s-1"}
    with pytest.raises(ValidationError):
        InferenceSessionCreateRequest.model_validate({**right, **wrong})


def test_a_moment_without_offset_is_utc():
    asked = InferenceSessionCreateRequest.model_validate(
        {"account": "a", "inferenceService": "s", "expires": "2026-01-01T00:00:00"}
    )
    assert asked.expires.utcoffset().total_seconds() == 0
