"""A stored request is sent again with edited turns."""

from __future__ import annotations

import json
from datetime import timedelta

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
from inferences.web.playground_calls import Tried
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


@pytest.fixture
def sent(monkeypatch):
    """The bodies and paths with which the model was called."""
    calls = []

    def call(user, model, body, path=""):
        calls.append((json.loads(body), path))
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
