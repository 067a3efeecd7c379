"""Who reaches which page, and that nothing sent becomes markup."""

from __future__ import annotations

import json
import re

import pytest
from django.test import Client
from django.urls import reverse

from inferences.models import RegisteredModel, TaskType
from inferences.tests.pages import (
    FOUND,
    ODD_IDS,
    PAGES,
    browse,
    elements,
    text,
)
from istore.models import Project, Role


@pytest.mark.parametrize(("name", "arguments"), PAGES)
def test_anonymous_people_log_in_and_come_back(client, make_inference, name, arguments):
    make_inference()
    address = reverse(name, args=arguments)
    response = client.get(address)
    assert response.status_code == 302
    assert response.url == f"/login?next={address}"


@pytest.mark.parametrize(("name", "arguments"), [page for page in PAGES if page[1]])
def test_what_belongs_to_others_is_not_there(person, make_inference, name, arguments):
    make_inference()
    other = Project.objects.create(project_id="airport")
    stranger = person(Role.ADMINISTRATOR, of=other)
    response = stranger.get(reverse(name, args=arguments))
    assert response.status_code == 404
    assert "There is nothing here." in text(response)


@pytest.mark.parametrize(
    ("role", "statuses"),
    [
        (Role.VIEWER, {"settings": 403, "register": 403, "tokens": 403}),
        (Role.EDITOR, {"settings": 200, "register": 200, "tokens": 403}),
        (Role.ADMINISTRATOR, {"settings": 200, "register": 200, "tokens": 200}),
    ],
)
def test_each_role_reaches_its_pages(person, model, role, statuses):
    client = person(role)
    assert {
        "settings": client.get(
            reverse("inferences:settings", args=[model.model_id])
        ).status_code,
        "register": client.get(reverse("inferences:register")).status_code,
        "tokens": client.get(reverse("tokens", args=["harbour"])).status_code,
    } == statuses
    assert browse(client, model).status_code == 200


def test_a_viewer_changes_nothing(person, model):
    client = person(Role.VIEWER)
    request = [
        (reverse("inferences:storage", args=[model.model_id]), {"enable": "false"}),
        (reverse("inferences:settings", args=[model.model_id]), {}),
        (reverse("inferences:register"), {"model_id": "new"}),
        (reverse("tokens", args=["harbour"]), {"name": "mine", "role": "editor"}),
        (reverse("members", args=["harbour"]), {"username": "person-0"}),
    ]
    assert [client.post(url, message).status_code for url, message in request] == [
        403
    ] * 5
    model.refresh_from_db()
    assert model.enable_inference_storage


def test_a_post_without_a_csrf_token_is_refused(person, model):
    client = Client(enforce_csrf_checks=True)
    client.force_login(person(Role.EDITOR).user)
    address = reverse("inferences:storage", args=[model.model_id])
    response = client.post(address, {"enable": "false"})
    assert response.status_code == 403
    assert "This form has expired." in text(response)


@pytest.mark.parametrize("model_id", ODD_IDS)
@pytest.mark.parametrize("inference_id", ["plain", "a/b?c#d%", "ends/input"])
def test_ids_with_odd_characters_have_addresses(
    person, project, make_inference, model_id, inference_id
):
    model = RegisteredModel.objects.create(
        model_id=model_id, project=project, task_type=TaskType.OBJECT_DETECTION
    )
    make_inference(to=model, inference_id=inference_id)
    client = person(Role.EDITOR)
    listed = browse(client, model)
    (address,) = re.findall(r'class="id mono">\s*<a href="([^"]+)"', text(listed))
    response = client.get(address.replace("&amp;", "&").replace("&#x27;", "'"))
    assert response.status_code == 200
    assert response.context["inference"].inference_id == inference_id
    assert (
        client.get(reverse("inferences:settings", args=[model_id])).status_code == 200
    )


@pytest.mark.parametrize("inference_id", ODD_IDS)
def test_inference_ids_with_odd_characters_have_addresses(
    person, model, make_inference, inference_id
):
    make_inference(inference_id=inference_id)
    address = reverse("inferences:detail", args=[model.model_id, inference_id])
    response = person().get(address)
    assert response.status_code == 200
    assert response.context["inference"].inference_id == inference_id


SCRIPT = "<script>alert(1)</script>"

HANDLER = "\"'><img src=x onerror=alert(1)>"


@pytest.mark.parametrize("evil", [SCRIPT, HANDLER])
def test_nothing_that_was_sent_becomes_markup(person, project, make_inference, evil):
    model = RegisteredModel.objects.create(
        model_id=f"m{evil}",
        project=project,
        task_type=TaskType.OBJECT_DETECTION,
        class_labels=[evil],
    )
    answer = f'[{{"label": {_json(evil)}, "score": 0.5, "bbox": [1, 2, 3, 4], {_json(evil)}: 1}}]'
    inference = make_inference(
        {evil: evil, "plain": evil, "json": {evil: evil}},
        to=model,
        inference_id=f"i{evil}",
        data=answer,
        data_source=evil,
        detections=[(evil, 0.5)],
        notes={"warnings": [evil], "input": {"name": evil}},
    )
    client = person(Role.ADMINISTRATOR)
    pages = [
        client.get("/"),
        browse(client, model),
        browse(client, model, view="table", source=evil, metadata=f"{evil}={evil}"),
        browse(client, model, metadata=evil, since=evil),
        client.get(
            reverse("inferences:detail", args=[model.model_id, inference.inference_id])
        ),
        client.get(reverse("inferences:settings", args=[model.model_id])),
    ]
    for response in pages:
        assert response.status_code == 200
        page = text(response)
        assert "<script>alert" not in page
        assert not [
            (tag, name)
            for tag, attributes in elements(page)
            for name in attributes
            if name.startswith("on") or "<" in name
        ]
        assert "x" not in [given.get("src") for _, given in elements(page)]


def _json(value: str) -> str:

    return json.dumps(value)


@pytest.mark.parametrize("view", ["gallery", "table"])
def test_pages_hold_no_inline_script_and_no_style(person, model, make_inference, view):
    make_inference({"camera": "north"}, data=FOUND)
    client = person(Role.ADMINISTRATOR)
    detail = reverse("inferences:detail", args=[model.model_id, "inference-1"])
    for response in (
        client.get("/"),
        browse(client, model, view=view),
        client.get(detail),
    ):
        page = text(response)
        assert not re.search(r"<script(?![^>]*(\bsrc=|application/json))", page)
        assert not re.search(r"<[a-z][^>]*\sstyle=", page)
        assert "<style" not in page
        assert "default-src 'self'" in response["Content-Security-Policy"]
