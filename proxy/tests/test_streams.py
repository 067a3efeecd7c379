"""Every stream that left with ``streaming`` is found under its id, or told as lost."""

from __future__ import annotations

import asyncio
import gzip
import json
from dataclasses import dataclass, field

import pytest
import redis
import requests
from aiohttp import web

from inferences.models import TaskType
from inferences.store import lost_copies
from proxy.http.encodings import decoded_beginning
from proxy.tests.conftest import wait_until
from proxy.tests.upstream import Upstream

pytestmark = pytest.mark.django_db

EVENTS, NDJSON = "text/event-stream", "application/x-ndjson"
OLLAMA = [
    {"model": "l", "message": {"role": "assistant", "content": "A "}, "done": False},
    {"model": "l", "message": {"content": "ship"}, "done": False},
    {"model": "l", "message": {"content": ""}, "done": True, "done_reason": "stop"},
]


def lines(*values) -> list[bytes]:
    return [json.dumps(value).encode() + b"\n" for value in values]


def event(value) -> bytes:
    return b"data: %b\n\n" % json.dumps(value).encode()


@dataclass
class Script:
    """What the server says, piece by piece, and whether it breaks off after that."""

    content_type: str
    pieces: list[bytes]
    breaks: bool = False
    waits: bool = False
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class ScriptedUpstream(Upstream):
    def __init__(self) -> None:
        super().__init__()
        self.script = Script("", [])

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        script = self.script
        response = web.StreamResponse(status=script.status, headers=script.headers)
        response.headers["Content-Type"] = script.content_type
        response.enable_chunked_encoding()
        await response.prepare(request)
        for piece in script.pieces:
            await response.write(piece)
            await asyncio.sleep(0.01)
        while script.waits:
            await asyncio.sleep(0.05)
        if script.breaks:
            request.transport.close()
            return response
        await response.write_eof()
        return response


@pytest.fixture(scope="module")
def server():
    server = ScriptedUpstream()
    server.start()
    yield server
    server.stop()


@pytest.fixture(params=["model", "json", "v2", "openai"])
def ask(request, proxied, store, server):
    """``ask(script, id)`` by a model's own route, or in a session of each protocol."""
    model = store.model(server.url, "streamed", task_type=TaskType.TEXT_GENERATION)
    if request.param != "model":
        configuration = {"url": server.url, "protocol": request.param}
        if request.param == "v2":
            configuration["model"] = "m"
        session, secret = store.session("url", configuration, model_id="streamed")

    def asked(script: Script, inference_id: str, **options) -> requests.Response:
        server.script = script
        text = {"name": "t", "datatype": "BYTES", "shape": [1], "data": ["?"]}
        body = {"id": inference_id, "inputs": [text]}
        options.setdefault("headers", {"Inference-Id": inference_id})
        if request.param == "model":
            return proxied.infer("streamed", body, **options)
        return proxied.call(session, secret, body, **options)

    asked.model = model
    return asked


def facts(marker) -> dict[str, str]:
    return {each["key"]: each["value"] for each in marker["metadata"]}


def answer_of(proxied, marker) -> bytes:
    return proxied.blob(marker["event"]["inference_storage_key"])


def note(store, model, inference_id: str) -> lost_copies.LostCopy | None:
    with redis.Redis.from_url(store.redis_url) as client:
        found = client.get(lost_copies.key_of(model.pk, inference_id))
    return found and lost_copies.LostCopy.read(found)


def test_lines_of_ollama_are_kept_as_its_whole_answer(ask, proxied, store, request):
    name = f"ollama-{request.node.callspec.id}"
    answer = ask(Script(NDJSON, lines(*OLLAMA)), name)
    assert answer.headers["Inference-Store"] == "streaming"
    assert answer.headers["Inference-Id"] == name
    assert answer.content == b"".join(lines(*OLLAMA))
    marker = proxied.marker(name)
    kept = json.loads(answer_of(proxied, marker))
    assert kept["message"] == {"role": "assistant", "content": "A ship"}
    assert (marker["warnings"], facts(marker)["stream"]) == ([], "complete")
    assert facts(marker)["finish_reason"] == "stop"
    wait_until(lambda: note(store, ask.model, name) is None, 5)


@pytest.mark.parametrize(
    ("content_type", "pieces"),
    [
        (EVENTS, [event({"progress": 1}), event({"progress": 2})]),
        (NDJSON, lines({"progress": 1}, {"progress": 2})),
        ("application/jsonl", lines({"progress": 1}, {"progress": 2})),
        ("application/json-seq", [b'\x1e{"a":1}\n', b'\x1e{"a":2}\n']),
        ("application/stream+json", lines({"progress": 1}, {"progress": 2})),
        ("text/plain", [b"A ", b"ship"]),
        ("image/x-unknown", [b"\x00\xff" * 50]),
        ("application/x-ndjson; charset=utf-8", [b"\xff\xfe not text\n"]),
    ],
)
def test_a_stream_that_nobody_understands_is_kept_as_it_came(
    ask, proxied, request, content_type, pieces
):
    name = f"raw-{request.node.callspec.id}".replace("/", "-").replace("; ", "-")
    name = "".join(each for each in name if each.isalnum() or each == "-")
    answer = ask(Script(content_type, pieces), name)
    assert answer.headers["Inference-Store"] == "streaming"
    marker = proxied.marker(name)
    assert answer_of(proxied, marker) == answer.content == b"".join(pieces)
    assert (
        marker["answer"]["content_type"].partition(";")[0]
        == (content_type.partition(";")[0])
    )
    is_any_bytes = content_type in ("text/plain", "image/x-unknown")
    warned = ["not understood" in warning for warning in marker["warnings"]]
    assert warned == ([] if is_any_bytes else [True])


def test_a_stream_that_breaks_off_is_kept_as_far_as_it_came(ask, proxied, request):
    name = f"broken-{request.node.callspec.id}"
    pieces = [*lines(*OLLAMA[:2]), b'{"model": "l", "mess']
    with pytest.raises(requests.RequestException):
        ask(Script(NDJSON, pieces, breaks=True), name)
    marker = proxied.marker(name)
    assert marker["warnings"] == [
        "The stream broke off. The answer is what came until then.",
        "The last event was cut; the stream is kept as it came.",
    ]
    assert answer_of(proxied, marker) == b"".join(pieces)
    assert json.loads(marker["answer"]["reading"])["message"]["content"] == "A ship"
    assert facts(marker)["stream"] == "partial"


def test_a_client_that_leaves_any_stream_makes_a_partial_record(ask, proxied, request):
    name = f"left-{request.node.callspec.id}"
    script = Script(EVENTS, [event({"text_output": "A "})], waits=True)
    with ask(script, name, stream=True) as answer:
        next(answer.iter_content(10))
    marker = proxied.marker(name)
    script.waits = False
    assert marker["warnings"] == [
        "The client left. The answer is what came until then."
    ]
    assert json.loads(answer_of(proxied, marker))["text_output"] == "A "


def test_an_error_within_a_stream_marks_the_record(ask, proxied, request):
    name = f"failed-{request.node.callspec.id}"
    chunk = {"choices": [{"index": 0, "delta": {"content": "A"}}]}
    bad = {"error": {"message": "Overloaded", "code": 503}}
    ask(Script(EVENTS, [event(chunk), event(bad), b"data: [DONE]\n\n"]), name)
    marker = proxied.marker(name)
    assert marker["warnings"] == ["The stream holds an error: Overloaded (503)"]
    assert facts(marker)["stream"] == "error"


def test_what_is_too_large_for_a_copy_is_told_as_lost(ask, proxied, store, request):
    name = f"large-{request.node.callspec.id}"
    before = lost(proxied)
    answer = ask(Script(EVENTS, [b"data: " + b"x" * 300_000 + b"\n\n"] * 4), name)
    assert answer.headers["Inference-Store"] == "streaming"
    wait_until(lambda: lost(proxied) == before + 1, 5)
    wait_until(
        lambda: (note(store, ask.model, name) or answer).reason == "too-large", 5
    )
    with redis.Redis.from_url(store.redis_url) as client:
        (last,) = client.lrange(lost_copies.RECENT, 0, 0)
    assert lost_copies.LostCopy.read(last).model_id == "streamed"


def test_a_stream_with_another_status_is_said_not_to_be_recorded(ask, proxied):
    answer = ask(Script(EVENTS, [event({"error": "busy"})], status=529), "busy")
    assert answer.status_code == 529
    assert answer.headers["Inference-Store"] == ("not-recorded; reason=upstream-status")


def test_a_compressed_stream_is_read(ask, proxied, request):
    name = f"gzip-{request.node.callspec.id}"
    body = gzip.compress(b"".join(lines(*OLLAMA)))
    headers = {"Content-Encoding": "gzip"}
    ask(Script(NDJSON, [body[:20], body[20:]], headers=headers), name)
    marker = proxied.marker(name)
    assert json.loads(answer_of(proxied, marker))["message"]["content"] == "A ship"
    assert marker["warnings"] == []


def test_of_a_compressed_stream_that_is_cut_what_can_be_read_is_kept(proxied):
    body = gzip.compress(b"A ship " * 10_000, 0)
    found, problem = decoded_beginning(body[: len(body) // 2], "gzip", 10**6)
    assert problem == "The body is not valid gzip."
    assert len(found) > 30_000 and (b"A ship " * 10_000).startswith(found)
    assert decoded_beginning(body, "gzip", 10**6) == (b"A ship " * 10_000, "")
    assert decoded_beginning(b"plain", "gzip", 10)[0] == b"plain"
    two = gzip.compress(b"A ") + gzip.compress(b"ship", 0)[:-12]
    assert decoded_beginning(two, "gzip", 100)[0].startswith(b"A ")


def lost(proxied) -> int:
    text = requests.get(f"{proxied.url}/metrics", timeout=5).text
    wanted = 'istore_proxy_streams_lost_total{reason="too-large"} '
    found = [line for line in text.splitlines() if line.startswith(wanted)]
    return int(float(found[0].rpartition(" ")[2])) if found else 0


def test_the_api_tells_an_id_whose_copy_was_lost(api, model, settings):
    client = redis.Redis.from_url(settings.ISTORE_REDIS_URL)
    key = lost_copies.key_of(model.pk, "gone")
    url = f"/api/v1/models/{model.model_id}/inferences/gone"
    assert "stream" not in api.get(url).json()["detail"]
    try:
        for reason, said in (("", "has not come"), ("too-large", "too-large")):
            copy = lost_copies.LostCopy("m", "2026-01-01T00:00:00.000000Z", reason)
            client.set(key, copy.as_json(), ex=60)
            answer = api.get(url)
            assert (answer.status_code, answer.json()["code"]) == (404, "not-found")
            assert said in answer.json()["detail"]
        client.lpush(lost_copies.RECENT, copy.as_json(), b"none of ours")
        assert copy in lost_copies.recent_lost_copies()
    finally:
        client.delete(key, lost_copies.RECENT)
        client.close()
