"""Models are registered and their storage switched; tokens and members come and go."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import User
from django.urls import reverse

from inferences.models import RegisteredModel
from inferences.tests.pages import (
    text,
)
from istore.models import AuditEntry, Membership, Project, Role, Token


def test_an_editor_registers_a_model(person, project):
    message = {
        "model_id": "fog/horn",
        "project": "harbour",
        "task_type": "Object Detection",
        "class_labels": "ship\ncrane\n",
        "box_format": "xyxy",
        "upstream_url": "https://models.example.org",
        "enable_inference_storage": "on",
    }
    response = person(Role.EDITOR).post(reverse("inferences:register"), message)
    assert response.status_code == 302
    model = RegisteredModel.objects.get(model_id="fog/horn")
    assert model.class_labels == ["ship", "crane"]
    assert model.enable_inference_storage
    assert AuditEntry.objects.filter(action="model.register").exists()


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "ftp://x", "http://u:p@x.org"])
def test_an_upstream_that_is_not_allowed_is_refused(person, model, settings, url):
    settings.ISTORE_UPSTREAM_ALLOW = []
    address = reverse("inferences:settings", args=[model.model_id])
    response = person(Role.EDITOR).post(
        address, {"upstream_url": url, "box_format": "yxyx"}
    )
    assert response.status_code == 400
    assert "pstream URL" in text(response)
    model.refresh_from_db()
    assert model.upstream_url == ""


def test_a_taken_id_is_told_at_its_field(person, model):
    message = {"model_id": "yolo-harbour", "project": "harbour"}
    message |= {"task_type": "Text Generation", "box_format": "yxyx"}
    response = person(Role.EDITOR).post(reverse("inferences:register"), message)
    assert response.status_code == 400
    assert "This id is taken." in text(response)


def test_an_id_that_another_project_has_is_free(person, model):
    airport = Project.objects.create(project_id="airport")
    message = {"model_id": "yolo-harbour", "project": "airport"}
    message |= {"task_type": "Text Generation", "box_format": "yxyx"}
    client = person(Role.EDITOR, of=airport)
    response = client.post(reverse("inferences:register"), message)
    assert response["Location"] == "/projects/airport/models/yolo-harbour/inferences"
    assert client.get(response["Location"]).status_code == 200


def test_storing_is_switched_by_one_click(person, model):
    client = person(Role.EDITOR)
    address = reverse("inferences:storage", args=[model.model_id])
    client.post(address, {"enable": "false"})
    model.refresh_from_db()
    assert not model.enable_inference_storage
    client.post(address, {"enable": "true"})
    model.refresh_from_db()
    assert model.enable_inference_storage


def test_a_token_is_shown_once_and_can_be_revoked(person, project):
    client = person(Role.ADMINISTRATOR)
    address = reverse("tokens", args=["harbour"])
    made = text(
        client.post(address, {"name": "camera", "role": "editor", "life": "30"})
    )
    (secret,) = re.findall(r">(ist_[\w-]{40,})<", made)
    assert secret not in text(client.get(address))
    token = Token.objects.get(name="camera")
    assert token.expires_at
    client.post(reverse("revoke", args=["harbour", token.pk]))
    token.refresh_from_db()
    assert token.revoked_at


def test_a_project_keeps_an_administrator(person, project):
    client = person(Role.ADMINISTRATOR)
    own = Membership.objects.get(user=client.user)
    client.post(reverse("change-member", args=["harbour", own.pk]), {"role": ""})
    client.post(reverse("change-member", args=["harbour", own.pk]), {"role": "viewer"})
    own.refresh_from_db()
    assert own.role == Role.ADMINISTRATOR


def test_members_come_change_and_go(person, project):
    client = person(Role.ADMINISTRATOR)
    User.objects.create_user("maria")
    address = reverse("members", args=["harbour"])
    client.post(address, {"username": "maria", "role": "viewer"})
    member = Membership.objects.get(user__username="maria")
    change = reverse("change-member", args=["harbour", member.pk])
    client.post(change, {"role": "editor"})
    member.refresh_from_db()
    assert member.role == Role.EDITOR
    client.post(change, {"role": ""})
    assert not Membership.objects.filter(user__username="maria").exists()


def test_the_theme_is_remembered(person):
    client = person()
    client.post(reverse("theme"), {"theme": "dark", "next": "//evil.example"})
    assert 'data-theme="dark"' in text(client.get("/"))
    client.post(reverse("theme"), {"theme": ""})
    assert "data-theme" not in re.search("<html[^>]*>", text(client.get("/")))[0]


def test_the_admin_site_reads_and_does_not_remove(admin_client, model, make_inference):
    make_inference()
    token = Token.objects.create(
        name="t", project=model.project, role=Role.VIEWER, prefix="p", digest=b"d"
    )
    for address in (
        "/admin/",
        "/admin/istore/project/",
        "/admin/istore/membership/",
        f"/admin/istore/token/{token.pk}/change/",
        "/admin/istore/auditentry/",
        "/admin/ingest/deadletter/",
        "/admin/inferences/inference/",
        f"/admin/inferences/registeredmodel/{model.pk}/change/",
    ):
        assert admin_client.get(address).status_code == 200, address
    listed = admin_client.get(
        "/admin/inferences/inference/", {"registered_model__id__exact": model.pk}
    )
    assert "inference-1" in text(listed)
    assert admin_client.get("/admin/istore/token/add/").status_code == 403
    chosen = {"action": "revoke", "_selected_action": token.pk}
    admin_client.post("/admin/istore/token/", chosen)
    token.refresh_from_db()
    assert token.revoked_at
