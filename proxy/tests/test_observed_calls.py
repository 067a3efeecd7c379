"""A call as operators see it: its id from the caller to the row, its metrics, its spans."""

from __future__ import annotations

import re

import pytest
import redis
import requests
from prometheus_client.parser import text_string_to_metric_families

from inferences.models import RegisteredModel
from inferences.search.filters import matching
from inferences.search.text import parse
from inferences.store.reading import find_inference
from proxy.tests.conftest import Proxied, request_body, wait_until
from proxy.tests.whole_store import WholeStore
from tests.collectors import Collector

pytestmark = pytest.mark.django_db

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
ID = "checkout:4711/attempt-2"


@pytest.fixture(scope="module")
def whole(store, tmp_path_factory):
    with redis.Redis.from_url(store.redis_url) as client:
        client.flushdb()
    whole = WholeStore(store, tmp_path_factory.mktemp("observed"))
    try:
        whole.add_proxy()
        whole.start_listener()
        yield whole
    finally:
        whole.stop()


def found_by(model_id: str, query: str) -> list[str]:
    model = RegisteredModel.objects.get(model_id=model_id)
    return [each.inference_id for each in matching(model, parse(query))]


def test_the_callers_id_goes_from_the_answer_to_the_row(whole, store, upstream):
    store.model(upstream.url, "echo")
    (proxied,) = whole.proxies
    headers = {"X-Request-ID": ID, "traceparent": TRACEPARENT}
    answer = proxied.infer("echo", request_body(id="named"), headers=headers)
    assert answer.headers["Inference-Store"] == "recorded"
    assert answer.headers["X-Request-ID"] == ID
    # Verbatim: the model server got both as they came.
    seen = upstream.seen[-1].headers
    assert (seen["x-request-id"], seen["traceparent"]) == (ID, TRACEPARENT)
    whole.drain()
    kept = whole.run(found_by, "echo", f'request:"{ID}"')
    assert kept == ["named"]
    assert whole.run(found_by, "echo", f'meta.trace_id = "{TRACE}"') == ["named"]
    # Beside the wire format in the stream, and in the marker, from which events come again.
    with redis.Redis.from_url(store.redis_url) as client:
        (_, entry), *_ = client.xrevrange("istore:events", count=1) or [(b"", {})]
    assert not entry or entry[b"request_id"] == ID.encode()
    assert proxied.marker("named")["x_request_id"] == ID


@pytest.mark.parametrize("given", ["a b", "x" * 200, "é", "-dash", ""])
def test_without_an_id_of_a_plain_form_it_is_that_of_the_record(
    whole, store, upstream, given
):
    store.model(upstream.url, "echo")
    (proxied,) = whole.proxies
    headers = {"X-Request-ID": given.encode("latin-1"), "traceparent": "00-0-0-00"}
    answer = proxied.infer("echo", headers=headers)
    assert answer.headers["X-Request-ID"] == answer.headers["Inference-Id"]
    whole.drain()
    found = whole.run(
        find_inference,
        RegisteredModel(
            pk=whole.run(lambda: RegisteredModel.objects.get(model_id="echo").pk)
        ),
        answer.headers["Inference-Id"],
    )
    assert found is not None
    marker = proxied.marker(answer.headers["Inference-Id"])
    assert "x_request_id" not in marker
    assert "traceparent" not in marker


def test_refusals_and_log_lines_have_the_id_too(whole, store):
    (proxied,) = whole.proxies
    answer = proxied.infer("no such model", headers={"X-Request-ID": ID})
    assert (answer.status_code, answer.headers["X-Request-ID"]) == (404, ID)
    answer = requests.post(f"{proxied.url}/v2/models/x/infer", timeout=5)
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-Request-ID"])


def test_durations_and_what_waits_are_told(whole, store, upstream):
    store.model(upstream.url, "echo")
    (proxied,) = whole.proxies
    proxied.infer("echo")
    whole.drain()

    def told() -> dict[str, float]:
        text = requests.get(f"{proxied.url}/metrics", timeout=10).text
        return {
            sample.name: sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if not sample.labels or sample.labels.get("operation") == "put"
        }

    found = told()
    assert found["istore_proxy_added_duration_seconds_count"] >= 1
    assert found["istore_proxy_upstream_duration_seconds_sum"] > 0
    assert found["istore_spool_entries"] == 0
    assert found["istore_spool_oldest_waiting_seconds"] == 0
    assert found["istore_proxy_ready"] == 1
    # Of the capture process, which has no endpoint.
    wait_until(lambda: told().get("istore_blob_requests_total", 0) >= 1, 10)


@pytest.mark.parametrize("to_upstream", [False, True])
def test_calls_are_spans_and_the_model_server_gets_the_context_it_is_meant_to(
    store, upstream, tmp_path, to_upstream
):
    model = store.model(upstream.url, "echo")
    with Collector() as collector:
        settings = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "ISTORE_OTEL_TO_UPSTREAM": str(to_upstream).lower(),
            "OTEL_BSP_SCHEDULE_DELAY": "200",
        }
        proxied = Proxied(store, tmp_path, settings).start()
        try:
            headers = {"traceparent": TRACEPARENT, "X-Request-ID": ID}
            proxied.infer("echo", request_body(id="needle-7"), headers=headers)
            seen = upstream.seen[-1].headers["traceparent"]
            collector.wait_for(lambda: len(collector.spans()) >= 2)
        finally:
            proxied.stop()
        spans = {span.name: span for span in collector.spans()}
        call, asked = spans["proxy inference"], spans["upstream"]
        assert (call.trace_id.hex(), call.parent_span_id.hex()) == (TRACE, PARENT)
        assert asked.parent_span_id == call.span_id
        own = f"00-{TRACE}-{asked.span_id.hex()}-01"
        assert seen == (own if to_upstream else TRACEPARENT)
        for told in ("needle-7", "a ship", model.model_id, store.secret, ID):
            assert told.encode() not in collector.bytes.replace(b"inference-store", b"")
