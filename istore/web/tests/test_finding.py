"""Find: what a person may see is found by a part of its name, and nothing else is."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from datasets.models import Dataset
from inferences.models import RegisteredModel, SavedView
from istore.models import Project, Role

pytestmark = pytest.mark.django_db


def find_page(client, text: str = "", **more: str) -> str:
    response = client.get(reverse("find"), {"q": text, **more})
    assert response.status_code == 200
    return response.content.decode()


def test_models_datasets_views_and_inferences_are_found(
    person, project, model, make_inference
):
    make_inference(inference_id="frame/17")
    Dataset.objects.create(project=project, name="hard harbour", created_by="maria")
    SavedView.objects.create(
        registered_model=model, name="Night harbour", query="?q=meta.night=1"
    )
    client = person(Role.VIEWER)
    shown = find_page(client, "harbour", part="found")
    for name in ("yolo-harbour", "hard harbour", "Night harbour"):
        assert name in shown
    assert "<html" not in shown
    assert "/inferences/frame/17" in find_page(client, "frame/17")
    assert "Register a model" in find_page(client, "regis")


def test_what_another_project_has_is_not_found(person, make_inference):
    other = Project.objects.create(project_id="quarry")
    hidden = RegisteredModel.objects.create(model_id="stone-crusher", project=other)
    make_inference(to=hidden, inference_id="crushed")
    Dataset.objects.create(project=other, name="crushed stones", created_by="x")
    client = person(Role.VIEWER)
    for text in ("crush", "crushed", "stone", "quarry"):
        assert "Nothing here is called so" in find_page(client, text)


def test_a_soft_deleted_inference_is_not_found(person, model, make_inference):
    make_inference(inference_id="gone")
    model.inferences.update(deleted=True)
    assert "Nothing here is called so" in find_page(person(Role.VIEWER), "gone")


@pytest.mark.parametrize("text", ["", "%", "_", "\\", "'", "x" * 10_000, "<b>"])
def test_any_text_may_be_looked_for(person, model, text):
    assert "<b>" not in find_page(person(Role.VIEWER), text)


def test_who_is_not_logged_in_finds_nothing(model):
    assert Client().get(reverse("find"), {"q": "yolo"}).status_code == 302


def test_operators_find_their_pages(db):
    client = Client()
    client.force_login(User.objects.create_superuser("operator"))
    assert "Operations" in find_page(client, "oper")
