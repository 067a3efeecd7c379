"""The pages of what was soft-deleted, and of erasures."""

from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model
from django.db import transaction
from django.test import Client
from django.urls import reverse

from inferences.erasure.running import erase
from inferences.models.erasure import ErasureTask
from inferences.store import removal, soft_deletion
from istore.models import Membership, Project, Role

pytestmark = pytest.mark.usefixtures("queue")


@pytest.fixture
def person(project):
    def make(role: Role = Role.ADMINISTRATOR, of: Project | None = None) -> Client:
        user = get_user_model().objects.create_user(f"user {role}")
        Membership.objects.create(user=user, project=of or project, role=role)
        client = Client()
        client.force_login(user)
        return client

    return make


@pytest.fixture
def hidden(model, make_inference):
    for name in "abc":
        make_inference({"k": name}, inference_id=name)
    with transaction.atomic():
        removal.hide_records(model, model.inferences.all())
    return model


DELETED = reverse("inferences:deleted", args=["yolo-harbour"])
CHANGE = reverse("inferences:change-deleted", args=["yolo-harbour"])
ERASURES = reverse("inferences:erasures", args=["harbour"])


def test_administrators_see_what_is_hidden(person, hidden):
    page = person().get(DELETED)

    assert page.status_code == 200
    assert [line.inference.inference_id for line in page.context["lines"]] == [
        "c",
        "b",
        "a",
    ]
    assert person(Role.EDITOR).get(DELETED).status_code == 403
    foreign = person(Role.VIEWER, Project.objects.create(project_id="other"))
    assert foreign.get(DELETED).status_code == 404


def test_they_are_found_by_a_text_query(person, hidden):
    client = person()

    found = client.get(DELETED, {"q": "meta.k=b"})
    wrong = client.get(DELETED, {"q": "colour:red"})

    assert [each.inference.inference_id for each in found.context["lines"]] == ["b"]
    assert wrong.status_code == 400
    assert "colour" in wrong.context["problem"]


@pytest.mark.parametrize(
    ("given", "restored", "waiting"),
    [
        ({"inference_id": ["a", "b"], "act": "restore"}, 2, 1),
        ({"everything": "true", "act": "restore"}, 3, 0),
        ({"everything": "true", "act": "restore", "q": "meta.k=c"}, 1, 2),
        ({"everything": "true", "act": "restore", "q": "colour:red"}, 0, 3),
        ({"inference_id": ["a"], "act": "remove"}, 0, 2),
        ({"act": "restore"}, 0, 3),
        ({"everything": "true", "act": "paint"}, 0, 3),
    ],
)
def test_what_is_chosen_is_restored_or_removed(
    person, hidden, given, restored, waiting
):
    answer = person().post(CHANGE, given)

    assert answer.status_code == 302
    assert answer.url.startswith(f"/projects/{hidden.project.project_id}{DELETED}")
    assert hidden.inferences.live().count() == restored
    assert soft_deletion.soft_deleted(hidden).count() == waiting


def test_editors_change_nothing(person, hidden):
    given = {"everything": "true", "act": "restore"}

    assert person(Role.EDITOR).post(CHANGE, given).status_code == 403
    assert not hidden.inferences.live().exists()


def test_an_empty_page_says_why(person, model):
    assert b"Nothing is soft-deleted" in person().get(DELETED).content


def test_an_erasure_is_counted_first_and_then_carried_out(
    person, model, make_inference
):
    make_inference({"person": "Zaphod"}, inference_id="a")
    client = person()
    given = {"key": "person", "type": "string", "value": "Zaphod", "why": "Asked."}

    counted = client.post(ERASURES, {**given, "act": "count"})
    task = ErasureTask.objects.get()
    assert task.dry_run
    erase(task)
    report = client.get(counted.url)
    assert b"1 records would be erased" in report.content
    assert b"Zaphod" not in report.content
    assert model.inferences.exists()

    asked = client.post(ERASURES, {**given, "act": "erase"})
    task = ErasureTask.objects.first()
    assert b'hx-trigger="every 1s"' in client.get(asked.url).content
    erase(task)
    page = client.get(asked.url)
    assert b"Nothing of it is left." in page.content
    assert b'hx-trigger="every' not in page.content
    assert not model.inferences.exists()
    listed = client.get(ERASURES)
    assert len(listed.context["tasks"]) == 2
    assert b"Zaphod" not in listed.content


def test_a_form_that_cannot_be_read_erases_nothing(person, project):
    given = {"key": "n", "type": "int", "value": "many", "act": "erase"}

    page = person().post(ERASURES, given)

    assert page.status_code == 400
    assert "value" in page.context["form"].errors
    assert not ErasureTask.objects.exists()


def test_an_erasure_can_be_stopped(person, project):
    client = person()
    given = {"key": "n", "type": "int", "value": "5", "act": "erase"}
    address = client.post(ERASURES, given).url

    client.post(f"{address}/stop")

    assert ErasureTask.objects.get().state == "stopped"


def test_only_administrators_of_the_project_see_erasures(person, project):
    assert person(Role.EDITOR).get(ERASURES).status_code == 403
    other = Project.objects.create(project_id="other")
    assert person(Role.ADMINISTRATOR, other).get(ERASURES).status_code == 404
