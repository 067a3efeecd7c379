"""Rows of spans come and go with their inferences, whatever breaks off in between."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection

from inferences.erasure.running import erase
from inferences.maintenance import orphan_blobs
from inferences.models import Inference, InferenceQuerySet, RegisteredModel
from inferences.search.filters import matching
from inferences.search.filters.in_trace import InTrace
from inferences.search.text import parse, write
from inferences.store import removal
from inferences.tests.erasure_builders import (
    PERSON,
    objects_with,
    open_task,
    tables_with,
)
from istore import blobs, failpoints
from istore.blobs import pack_notes
from istore.checks.verification import Scope, checks
from istore.db.clock import now
from traces.models import Span
from traces.tests.builders import OPENINFERENCE, TRACE, request_of

pytestmark = pytest.mark.django_db(transaction=True)

LLM = {"attributes": OPENINFERENCE}
NAME = f"{TRACE.hex()}-{1:016x}"


@pytest.fixture
def armed():
    yield failpoints.arm
    failpoints.arm("")


@pytest.fixture
def gpt(send) -> RegisteredModel:
    """The model of two spans of a trace and one of another."""
    other = bytes(15) + b"\7"
    send(request_of(LLM, LLM | {"id": 2, "parent": 1}, LLM | {"trace": other}))
    return RegisteredModel.objects.get(model_id="gpt-4o")


def findings(name: str, **scope) -> list[str]:
    return [each.kind for each in checks[name].look(Scope(now(), **scope))]


@pytest.mark.parametrize("step", ["inputs_put", "recorded"])
def test_what_breaks_off_is_a_503_or_500_and_a_repeat_stores_it_once(send, armed, step):
    request = request_of(LLM, LLM | {"id": 2})
    armed(f"traces.{step}=raise")
    assert send(request).status_code >= 500
    armed("")
    assert send(request).status_code == 200
    assert Inference.objects.count() == Span.objects.count() == 2
    for inference in Inference.objects.all():
        assert send(request).status_code == 200
        key = inference.registered_model.inferences.get(pk=inference.pk)
        assert key.inference_id.startswith(TRACE.hex())


def test_inputs_of_a_request_that_broke_off_are_collected(send, armed):
    request = request_of(LLM, LLM | {"id": 2})
    armed("traces.inputs_put=raise")
    send(request)
    armed("")
    send(request)
    assert len([e for e in blobs.walk() if e.key.endswith(".inputs")]) == 2
    scope = Scope(now() + timedelta(days=1), repair=True)
    list(checks["unnamed members"].look(scope))
    packs = [e.key for e in blobs.walk() if e.key.endswith(".inputs")]
    if (
        pack_notes.are_kept()
    ):  # an object store: the release is noted, the pack goes later
        packs = [key for key in packs if not pack_notes.released_in(key)]
    (left,) = packs
    for payload in _payloads():
        assert payload.startswith(left)
        assert blobs.get(payload)


def _payloads() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT data_storage_key FROM inferences_inferencepayload")
        return [key for (key,) in cursor]


def test_a_removed_inference_takes_its_span_along_and_stays_removed(gpt, send, project):
    removal.remove_one("test", gpt, NAME)
    assert Span.objects.filter(trace_id=TRACE).count() == 1
    told = send(request_of(LLM)).told
    assert told.partial_success.rejected_spans == 1
    assert "was removed" in told.partial_success.error_message
    assert Span.objects.filter(trace_id=TRACE).count() == 1


def test_retention_takes_the_spans_along(gpt):
    def chosen() -> InferenceQuerySet:
        return gpt.inferences.live()

    assert list(removal.intend_all("test", gpt, chosen))
    removal.RECORDS.finish(gpt)
    assert not Span.objects.exists()


def test_erasure_leaves_nothing_of_a_person_in_spans_either(send, project):
    named = {
        "user.id": PERSON,
        "llm.input_messages.0.message.content": f"I am {PERSON}.",
        "other": PERSON,
    }
    send(
        request_of(
            {"attributes": OPENINFERENCE | named, "name": f"chat of {PERSON}"},
            LLM | {"id": 2, "parent": 1},
        )
    )
    assert "traces_span" in tables_with(PERSON)
    assert objects_with(PERSON)
    task = open_task(project, key="user_id")
    erase(task)
    task.refresh_from_db()
    assert tables_with(PERSON) == []
    assert objects_with(PERSON) == []
    assert task.report["erased"]["records"] == 1
    assert task.report["proof"]["left"] == 0
    assert Span.objects.count() == 1


def test_verify_finds_nothing_and_then_a_span_without_its_inference(gpt, monkeypatch):
    monkeypatch.delitem(orphan_blobs.fates, "ingest", raising=False)
    assert findings("rows") == []
    span = Span.objects.get(registered_model=gpt, span_id=(2).to_bytes(8))
    with connection.cursor() as cursor:
        cursor.execute("UPDATE traces_span SET id = 5 WHERE id = %s", [span.row_id])
    assert findings("rows", repair=True) == ["span-alone"]
    assert findings("rows") == []
    assert Span.objects.count() == 2


def test_a_trace_is_found_by_its_id(gpt):
    wanted = parse(f"trace:{TRACE.hex()}")
    assert wanted == InTrace(TRACE.hex())
    assert parse(write(wanted)) == wanted
    assert matching(gpt, wanted).count() == 2
    assert matching(gpt, parse(f"-trace:{TRACE.hex()}")).count() == 1
    assert len(InTrace(TRACE.hex()).access_paths(gpt)) == 1


def test_a_trace_is_found_in_the_tree_of_the_api(gpt, api):
    body = {"filter": {"in_trace": TRACE.hex()}}
    response = api.post(
        f"/api/v1/models/{gpt.model_id}/inferences/filter", body, "json"
    )
    assert response.status_code == 200, response.content
    assert len(response.json()["results"]) == 2
    body = {"filter": {"in_trace": "x"}}
    response = api.post(
        f"/api/v1/models/{gpt.model_id}/inferences/filter", body, "json"
    )
    assert response.status_code == 400
