"""A stored request is sent again with edited turns."""

from __future__ import annotations

import json
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from django.urls import reverse

from inferences.tests.conversation_builders import (
    answer_of,
    chat_model,
    picture,
    said,
    store_chat,
)
from inferences.tests.pages import text
from inferences.web import playground
from inferences.web.playground_calls import Tried, try_model
from istore.models import Role

TENSOR = {"name": "prompt", "datatype": "BYTES", "shape": [1]}
IMAGE = {
    "type": "image_url",
    "image_url": {"url": f"data:image/png;base64,{picture()}"},
}
CHAT = {
    "model": "gpt-4o",
    "temperature": 0.5,
    "stream": True,
    "messages": [
        said("system", " Be brief.\n"),
        said("user", [{"type": "text", "text": "What is this?"}, IMAGE]),
    ],
}


@pytest.fixture
def chats(project):
    return chat_model(project)


class Calls(list):
    key = ""


@pytest.fixture
def sent(monkeypatch):
    """The bodies and paths with which the model was called."""
    calls = Calls()

    def call(user, model, body, path="", key=""):
        calls.append((json.loads(body), path))
        calls.key = key
        return Tried(200, json.dumps(answer_of("ok")), timedelta(seconds=1), ["new"])

    monkeypatch.setattr(playground, "try_model", call)
    return calls


@pytest.fixture
def again(person, chats, make_inference):
    """``again(request, {"text-0": …})``: the page after the turns were sent."""

    def post(request, fields, **stored):
        store_chat(
            make_inference, chats, request, answer_of("a"), inference_id="a", **stored
        )
        address = reverse("inferences:try", args=[chats.model_id])
        given = {"form": "turns", "again": "a", **fields}
        return person(Role.EDITOR).post(address, given)

    return post


def test_edited_turns_are_sent_with_all_that_was_not_edited(again, sent):
    page = again(
        CHAT,
        {
            "text-0": " Be brief.\r\n",
            "role-0": "developer",
            "text-1": "And this?",
            "role-1": "user",
            "more": "Say it in Dutch.",
        },
    )

    assert page.status_code == 200
    ((body, path),) = sent
    assert path == "v1/chat/completions"
    assert body == {
        "model": "gpt-4o",
        "temperature": 0.5,
        "messages": [
            said("developer", " Be brief.\n"),
            said("user", [{"type": "text", "text": "And this?"}, IMAGE]),
            said("user", "Say it in Dutch."),
        ],
    }
    assert "/compare?a=a&amp;b=new" in text(page)


def test_turns_can_be_left_out(again, sent):
    again(CHAT, {"drop-1": "on", "text-0": "Be long.", "role-0": "system"})

    assert sent[0][0]["messages"] == [said("system", "Be long.")]


def test_a_request_that_came_in_a_tensor_is_sent_in_one(again, sent):
    request = {**TENSOR, "data": [json.dumps(CHAT)]}

    again(
        request,
        {"text-0": "Be long.", "role-0": "system"},
        notes={"input": {"name": "prompt"}},
    )

    ((body, path),) = sent
    (tensor,) = body["inputs"]
    assert (tensor["name"], path) == ("prompt", "")
    assert json.loads(tensor["data"][0])["messages"][0] == said("system", "Be long.")


def test_a_plain_prompt_stays_one(again, sent):
    again({"prompt": "Ships?", "max_tokens": 3}, {"text-0": "Boats?"})

    assert sent == [({"prompt": "Boats?", "max_tokens": 3}, "v1/completions")]


def test_the_key_of_the_model_server_goes_with_the_call_alone(again, sent):
    page = again({"prompt": "Ships?"}, {"text-0": "Boats?", "key": " sk-secret "})

    assert sent.key == "sk-secret"
    assert "sk-secret" not in text(page)


def test_a_key_that_no_header_can_hold_is_refused(again, sent):
    page = again({"prompt": "Ships?"}, {"text-0": "Boats?", "key": "a\r\nHost: b"})

    assert page.status_code == 400 and not sent


def test_without_turns_nothing_is_sent(again, sent):
    page = again({"prompt": "Ships?"}, {"drop-0": "on"})

    assert page.status_code == 400 and not sent
    assert "Leave at least one turn." in text(page)


def test_the_form_has_the_turns_as_they_were(person, chats, make_inference):
    messages = [said("user", f"\nline {n}</textarea>") for n in range(50)]
    store_chat(
        make_inference, chats, {"messages": messages}, answer_of("a"), inference_id="a"
    )
    address = reverse("inferences:try", args=[chats.model_id])
    client = person(Role.EDITOR)

    page = text(client.get(address, {"again": "a"}))

    assert page.count("</textarea>") == 40 + 3  # and those of the other forms
    assert "\nline 49&lt;/textarea&gt;</textarea>" in page
    assert "10 earlier turns too." in page
    assert client.get(address, {"again": "none"}).status_code == 404
    assert person().get(address, {"again": "a"}).status_code == 403


def test_the_call_goes_to_the_path_of_the_api_with_both_keys(person, chats, settings):
    """The proxy is a server of this test: it answers what it was asked."""
    asked = []

    class Proxy(BaseHTTPRequestHandler):
        def do_POST(self):
            length = int(self.headers["Content-Length"])
            asked.append((self.path, dict(self.headers), self.rfile.read(length)))
            self.send_response(200)
            self.send_header("Inference-Store", "recorded")
            self.send_header("Inference-Id", "new")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Proxy)
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    settings.ISTORE_PROXY_INTERNAL_URL = f"http://127.0.0.1:{server.server_port}"
    user = person(Role.EDITOR).user
    try:
        found = try_model(user, chats, b"{}", "v1/chat/completions", "sk-secret")
        try_model(user, chats, b"{}")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

    (path, headers, _), (plain, others, _) = asked
    assert path == "/models/harbour-chat/v1/chat/completions"
    assert headers["Upstream-Authorization"] == "Bearer sk-secret"
    assert headers["Authorization"].startswith("Bearer ist_")
    assert plain == "/v2/models/harbour-chat/infer"
    assert "Upstream-Authorization" not in others
    assert found.inference_ids == ["new"]


def test_sending_again_is_offered_where_a_server_would_answer(
    person, chats, make_inference
):
    store_chat(make_inference, chats, CHAT, answer_of("A quay."), inference_id="c1")
    page = reverse("inferences:detail", args=[chats.project, chats.model_id, "c1"])
    client = person(Role.EDITOR)
    assert "Send again" not in text(client.get(page))
    tried = reverse("inferences:try", args=[chats.project, chats.model_id])
    assert "No model server is registered" in text(client.get(tried))
    chats.upstream_url = "https://models.example.org"
    chats.save()
    assert "Send again" in text(client.get(page))
    assert "No model server is registered" not in text(client.get(tried))
