"""The sender against the real models; a few lines play the store between them."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from uuid import UUID

import pytest

pytest.importorskip("skimage")
pytest.importorskip("sklearn")

from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from demo import chat, conversations, send
from demo.models.guide import NAME, Guide
from demo.server import make_app
from demo.traffic import SHARES, calls
from demo.v2 import HEADER_LENGTH, read_request

RUN = UUID(int=1)


class Store:
    """Registers, counts, and passes inferences on to the demo's own application."""

    def __init__(
        self, loaded, status=200, changing=200, recorded="recorded", loses=False
    ):
        self.upstream = make_app(loaded)
        self.upstream.router.add_post(
            "/models/{model}/v1/chat/completions", chat.complete
        )
        self.status, self.changing = status, changing
        self.recorded, self.loses = recorded, loses
        self.registered, self.stored = {}, Counter()
        self.changed = {}

    def app(self):
        app = web.Application(client_max_size=32 * 1024**2)
        app.add_routes(
            [
                web.post("/api/v1/models", self.register),
                web.patch(
                    "/api/v1/models/{model}/inference-server-settings", self.change
                ),
                web.post("/api/v1/models/{model}/inferences/count", self.count),
            ]
        )
        self.upstream.on_response_prepare.append(self.keep)
        app.add_subapp("/proxy", self.upstream)
        return app

    async def register(self, request):
        model = await request.json()
        self.registered[model["model_id"]] = model
        if self.status != 200:
            return web.json_response({"detail": "No such project."}, status=self.status)
        return web.json_response({"id": 1})

    async def change(self, request):
        self.changed[request.match_info["model"]] = await request.json()
        return web.json_response({}, status=self.changing)

    async def count(self, request):
        assert await request.json() == {}
        return web.json_response({"count": self.stored[request.match_info["model"]]})

    async def keep(self, request, response):
        assert request.headers["Authorization"] == "Bearer a-token"
        body = await request.read()
        parts = 1
        if request.path.endswith("/infer"):
            asked = read_request(body, request.headers.get(HEADER_LENGTH))
            parts = len(asked.inputs)
        if not self.loses:
            self.stored[request.match_info["model"]] += parts
        response.headers["Inference-Store"] = self.recorded


def sent(store, count=24):
    async def run():
        async with TestServer(store.app()) as server:
            url = str(server.make_url("")).rstrip("/")
            options = send.parsed(
                [
                    *(
                        "--url",
                        url,
                        "--proxy",
                        url + "/proxy",
                        "--upstream",
                        "http://up",
                    ),
                    *("--token", "a-token", "--count", str(count)),
                ]
            )
            return url, await send.show(options)

    return asyncio.run(run())


def test_all_models_are_registered_and_all_that_was_sent_is_stored(loaded, capsys):
    store = Store(loaded)

    url, page = sent(store)

    assert page == f"{url}/models/face-detector/inferences"
    assert set(store.registered) == {*loaded, NAME} == {*SHARES, NAME}
    model = store.registered["digit-embedder"]
    assert model["embedding_size"] == 16
    assert model["upstream_url"] == "http://up"
    assert model["enable_inference_storage"] is True
    assert set(store.stored) == {*loaded, NAME}
    assert store.stored.total() >= 24
    lines = capsys.readouterr().out.splitlines()
    total = store.stored["face-detector"]
    assert (
        f"face-detector: {total} inferences, {total} answered, {total} recorded, "
        f"{total} in the store" in lines
    )


def test_a_model_known_at_another_address_is_changed(loaded):
    store = Store(loaded, status=409)

    sent(store, count=5)

    served = {"upstream_url": "http://up", "enable_inference_storage": True}
    assert store.changed == dict.fromkeys([*loaded, NAME], served)


@pytest.mark.parametrize(
    "flaw, message",
    [
        ({"status": 403}, "Registering face-detector failed: 403 .*No such project"),
        ({"status": 409, "changing": 403}, "changing its settings failed: 403"),
        ({"recorded": "not-recorded"}, "No answer of"),
        ({"loses": True}, "not in the store after 0 s"),
    ],
)
def test_what_goes_wrong_is_told(loaded, monkeypatch, flaw, message):
    monkeypatch.setattr(send, "WAIT_SECONDS", 0)

    with pytest.raises(send.SendError, match=message):
        sent(Store(loaded, **flaw), count=5)


def test_a_store_that_is_not_there_is_one_line_and_a_failure(capsys):
    url = f"http://127.0.0.1:{unused_port()}"

    code = send.main(["--url", url, "--token", "a-token"])

    captured = capsys.readouterr()
    assert code == 1
    assert captured.out == ""
    assert captured.err.startswith("demo.send: Cannot connect")
    assert captured.err.count("\n") == 1


def test_a_seed_sends_the_same_again_and_a_run_other_ids():
    first, again = list(calls(20, 7, RUN)), list(calls(20, 7, RUN))
    other_run = list(calls(20, 7, UUID(int=2**127)))

    assert first == again
    assert [call.model_id for call in first] == [call.model_id for call in other_run]
    assert [call.body for call in first] != [call.body for call in other_run]


def test_the_traffic_is_varied():
    requests = [
        (call, read_request(call.body, call.headers.get(HEADER_LENGTH)))
        for call in calls(80, 7, RUN)
    ]

    assert {call.model_id for call, _ in requests} == set(SHARES)
    assert {HEADER_LENGTH in call.headers for call, _ in requests} == {True, False}
    assert {request.id is None for _, request in requests} == {True, False}
    assert {len(request.inputs) for _, request in requests} == {1, 3}
    items = [
        item
        for _, request in requests
        for tensor in request.inputs
        for item in json.loads(tensor.parameters["metadata"])
    ]
    assert {item["type"] for item in items} == {"string", "int", "float", "json"}
    assert {"latitude", "longitude", "data_source", "camera", "frame", "gain"} <= {
        item["key"] for item in items
    }
    assert all(isinstance(item["value"], str) for item in items)
    pictures = [
        value
        for _, request in requests
        for tensor in request.inputs
        for value in tensor.values
        if isinstance(value, bytes)
    ]
    assert len(set(pictures)) > 0.9 * len(pictures)
    assert max(map(len, pictures)) < 250_000


def test_conversations_have_turns_tools_streams_and_a_failure():
    asked = [json.loads(call.body) for call in conversations.calls(RUN)]

    roles = {message["role"] for each in asked for message in each["messages"]}
    assert roles == {"system", "user", "assistant", "tool"}
    assert {bool(each.get("tools")) for each in asked} == {True, False}
    assert {bool(each.get("stream")) for each in asked} == {True, False}
    assert max(len(each["messages"]) for each in asked) > 8
    sessions = {call.headers["Inference-Session"] for call in conversations.calls(RUN)}
    assert len(sessions) > 7


def test_the_guide_quotes_what_the_documents_say():
    guide = Guide()

    found = guide.search("How is an erasure proven?")
    assert {"erasure.md", "lake.md"} & {each.document for each in found}
    answer = guide.answer(
        [{"role": "user", "content": "How is an erasure proven?"}], has_tool=False
    )
    assert found[0].text in answer["content"]
    assert guide.search("qqq zzz") == []
