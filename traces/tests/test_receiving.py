"""Spans that are sent become inferences, each once, and the answer says which did not."""

from __future__ import annotations

import base64
import gzip
import json
import zlib

import pytest
from django.db import OperationalError
from google.protobuf import json_format

from inferences.models import Inference, RegisteredModel, TaskType
from inferences.store.reading import find_inference
from istore import blobs
from istore.accounts.tokens import create_token
from istore.models import AuditEntry, Project, Role
from traces import intake
from traces.api import otlp
from traces.models import Span
from traces.tests.builders import OPENINFERENCE, TRACE, request_of
from traces.tests.conftest import PROTOBUF

pytestmark = pytest.mark.django_db(transaction=True)

LLM = {"attributes": OPENINFERENCE}
NAME = f"{TRACE.hex()}-{1:016x}"


def stored(name: str = NAME, model_id: str = "gpt-4o") -> Inference:
    found = find_inference(RegisteredModel.objects.get(model_id=model_id), name)
    assert found is not None
    return found


def test_a_span_is_an_inference_with_prompt_answer_and_facts(send):
    assert send(request_of(LLM)).told.partial_success.rejected_spans == 0
    inference = stored()
    asked = json.loads(blobs.get(inference.payload.data_storage_key))
    assert asked == {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": "Which ships are in?"}],
    }
    answer = json.loads(inference.payload.data)
    assert answer["choices"][0]["message"]["content"] == "The Aurora."
    assert answer["usage"]["total_tokens"] == 16
    facts = {key: text for key, (_, text) in inference.payload.metadata.items()}
    assert facts["prompt_tokens"] == "12"
    assert facts["conversation_id"] == "s-1"
    assert facts["span_kind"] == "llm"
    assert facts["prediction"] == "The Aurora."
    times = inference.payload.notes["times"]
    assert times["received"] < times["responded"]


def test_the_first_span_registers_its_model_and_says_so_in_the_audit_log(send):
    tool = {"attributes": {"openinference.span.kind": "TOOL"}, "name": "weather"}
    vector = {
        "openinference.span.kind": "EMBEDDING",
        "embedding.model_name": "small",
        "embedding.embeddings.0.embedding.text": "Ahoy",
        "embedding.embeddings.0.embedding.vector": [0.5, 0.25],
    }
    send(request_of(LLM, tool, {"attributes": vector}))
    tasks = dict(RegisteredModel.objects.values_list("model_id", "task_type"))
    assert tasks == {
        "gpt-4o": TaskType.TEXT_GENERATION,
        "shop.tool": TaskType.TEXT_GENERATION,
        "small": TaskType.TEXT_EMBEDDING,
    }
    assert RegisteredModel.objects.get(model_id="small").embedding_size == 2
    assert AuditEntry.objects.filter(action="model.register").count() == 3
    assert AuditEntry.objects.filter(action="inference.spans").count() == 3


def test_a_span_that_comes_again_is_stored_once(send):
    request = request_of(LLM, {"id": 2, "parent": 1})
    for _ in range(3):
        assert not send(request).told.partial_success.rejected_spans
    assert Inference.objects.count() == Span.objects.count() == 2
    packs = [each.key for each in blobs.walk() if each.key.endswith(".inputs")]
    assert len(packs) == 1


def test_a_span_that_stands_twice_in_one_request_is_stored_once(send):
    told = send(request_of(LLM | {"id": 1}, LLM | {"id": 1})).told
    assert not told.partial_success.rejected_spans
    assert Inference.objects.count() == 1


def test_another_span_of_the_same_id_is_rejected_with_its_reason(send):
    send(request_of(LLM | {"start": 10**18}))
    told = send(request_of(LLM | {"start": 10**18, "end": 10**18 + 5})).told
    assert told.partial_success.rejected_spans == 1
    assert "other content" in told.partial_success.error_message


def test_what_is_wrong_with_one_span_costs_no_other_one(send):
    request = request_of(LLM, LLM | {"id": 2}, {"id": 3, "start": 0}, LLM | {"id": 4})
    request.resource_spans[0].scope_spans[0].spans[1].trace_id = b"short"
    told = send(request).told
    assert told.partial_success.rejected_spans == 2
    assert "trace_id" in told.partial_success.error_message
    assert "no start time" in told.partial_success.error_message
    assert Inference.objects.count() == 2


def test_a_deep_json_text_of_one_span_costs_no_other_one(send):
    deep = "[" * 300 + "]" * 300
    said = f'{{"messages": [{{"role": "user", "content": {deep}}}]}}'
    odd = {"attributes": OPENINFERENCE | {"input.value": said, "metadata": said}}
    assert not send(request_of(LLM, odd)).told.partial_success.rejected_spans
    assert Inference.objects.count() == 2


def test_what_cannot_be_written_as_it_was_read_is_kept_plainly(send, monkeypatch):
    compose, failures = intake.compose, [TypeError("Recursion limit reached")]

    def fail_once(*given):
        if failures:
            raise failures.pop()
        return compose(*given)

    monkeypatch.setattr(intake, "compose", fail_once)
    assert not send(request_of(LLM, LLM)).told.partial_success.rejected_spans
    assert Inference.objects.count() == 2


def test_a_span_that_stands_twice_with_other_content_is_rejected_once(send):
    told = send(request_of(LLM | {"id": 1}, LLM | {"id": 1, "name": "other"})).told
    assert told.partial_success.rejected_spans == 1
    assert "other content" in told.partial_success.error_message
    assert Inference.objects.count() == 1


def test_a_large_request_is_read_in_groups(send, monkeypatch):
    monkeypatch.setattr(intake, "GROUP_BYTES", 1000)
    monkeypatch.setattr(intake, "NEW_MAX", 2)
    named = [
        {"attributes": OPENINFERENCE | {"llm.model_name": f"m{n}"}} for n in range(9)
    ]
    told = send(request_of(*named, *([LLM | {"id": 1}] * 9))).told
    # Two models were registered; the repeats of the first span are of a third model.
    assert told.partial_success.rejected_spans == 16
    assert RegisteredModel.objects.count() == 2


def test_a_span_of_the_future_is_rejected(send):
    told = send(request_of(LLM | {"start": 4 * 10**18})).told
    assert told.partial_success.rejected_spans == 1


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "identity"])
def test_bodies_are_decompressed(send, encoding):
    body = request_of(LLM).SerializeToString()
    packed = {"gzip": gzip.compress, "deflate": zlib.compress}.get(encoding, bytes)(
        body
    )
    response = send(packed, **{"content-encoding": encoding})
    assert response.status_code == 200
    assert stored()


def test_json_is_read_as_protobuf_is(send):
    request = request_of(LLM)
    value = json_format.MessageToDict(request)
    for span in value["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        for name in ("traceId", "spanId"):
            span[name] = base64.b64decode(span[name]).hex()
    response = send(json.dumps(value), content_type="application/json")
    assert (response.status_code, response.json()) == (200, {})
    assert response.headers["Content-Type"] == "application/json"
    by_json = stored().payload
    send(request_of(LLM | {"trace": bytes(15) + b"\1"}))
    by_protobuf = stored(f"{1:032x}-{1:016x}").payload
    assert by_json.data == by_protobuf.data
    assert by_json.metadata == by_protobuf.metadata


def test_clients_of_langfuse_send_the_token_as_the_secret_key(send, secret):
    pair = base64.b64encode(f"pk-lf-harbour:{secret}".encode()).decode()
    path = "/api/public/otel/v1/traces"
    response = send(request_of(LLM), path=path, authorization=f"Basic {pair}")
    assert response.status_code == 200
    assert stored()


@pytest.mark.parametrize("form", ["Bearer%20{token}", "Basic%20{pair}"])
def test_a_header_that_the_exporter_did_not_decode_is_read(send, secret, form):
    pair = base64.b64encode(f"anything:{secret}".encode()).decode()
    header = form.format(token=secret, pair=pair)
    assert send(request_of(LLM), authorization=header).status_code == 200
    assert stored()


@pytest.mark.parametrize(
    "header", ["", "Bearer ist_wrong", "Basic eDp5", "Basic eDoA", "Basic ?", "x"]
)
def test_who_sends_no_valid_token_gets_a_401(send, header):
    response = send(request_of(LLM), authorization=header)
    assert response.status_code == 401
    assert response.headers["Content-Type"] == PROTOBUF
    assert b"token" in response.content
    assert not Inference.objects.exists()


def test_a_viewer_may_not_send_spans(send, project):
    _, secret = create_token("reader", project, Role.VIEWER)
    response = send(request_of(LLM), authorization=f"Bearer {secret}")
    assert response.status_code == 403
    assert not RegisteredModel.objects.exists()


def test_spans_go_to_the_project_of_the_token_alone(send, project):
    other = Project.objects.create(project_id="other")
    _, secret = create_token("theirs", other, Role.EDITOR)
    send(request_of(LLM))
    send(request_of(LLM), authorization=f"Bearer {secret}")
    models = RegisteredModel.objects.filter(model_id="gpt-4o")
    assert {model.project for model in models} == {project, other}
    assert all(model.inferences.count() == 1 for model in models)


@pytest.mark.parametrize("body", [b"\xff", b"\x0a\x05abc", b"\x0a" + b"\xff" * 11])
def test_what_cannot_be_read_is_a_400_with_a_status(send, body):
    response = send(body)
    assert response.status_code == 400
    assert response.content.startswith(b"\x08\x03\x12")


def test_json_that_cannot_be_read_is_a_400_with_a_status(send):
    response = send("{", content_type="application/json")
    assert response.status_code == 400
    assert response.json()["code"] == 3
    assert response.json()["message"]


def test_other_encodings_and_types_are_refused(send):
    assert send(b"", content_type="text/plain").status_code == 415
    body = request_of(LLM).SerializeToString()
    assert send(body, **{"content-encoding": "zstd"}).status_code == 415
    assert (
        send(gzip.compress(body)[:-9], **{"content-encoding": "gzip"}).status_code
        == 400
    )


def test_a_small_body_that_becomes_a_huge_one_is_refused_at_the_bound(send, settings):
    settings.ISTORE_OTLP_MAX_BYTES = 100_000
    response = send(gzip.compress(bytes(50_000_000)), **{"content-encoding": "gzip"})
    assert response.status_code == 413


def test_a_request_without_spans_is_a_success(send):
    assert send(request_of()).status_code == 200


def test_a_fault_behind_the_store_is_a_503_to_repeat(send, monkeypatch):
    def fail(*_):
        raise OperationalError("the connection is gone")

    monkeypatch.setattr(otlp, "store_spans", fail)
    response = send(request_of(LLM))
    assert response.status_code == 503
    assert response.headers["Retry-After"]


def test_a_parent_may_come_after_its_child(send):
    send(request_of(LLM | {"id": 2, "parent": 1}))
    send(request_of({"id": 1, "name": "agent"}))
    spans = {bytes(each.span_id)[-1]: each for each in Span.objects.all()}
    assert bytes(spans[2].parent_id) == bytes(spans[1].span_id)
    assert spans[1].parent_id is None
