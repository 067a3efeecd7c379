"""Deleting by hand hides by default, and who hid may undo it; for good is a choice of its own."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client

from inferences.store import soft_deletion
from inferences.tests.pages import text
from inferences.tests.test_undo_pages import offers_undo, take_back, undo_of
from istore.models import AuditEntry, Membership, Role

pytestmark = pytest.mark.django_db
MODEL = "/models/yolo-harbour"
REMOVE = f"{MODEL}/selection/remove"


def log_in(project, name: str, role: Role = Role.EDITOR) -> Client:
    user = User.objects.create_user(name)
    Membership.objects.create(user=user, project=project, role=role)
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def editor(project) -> Client:
    return log_in(project, "maria")


def live(model) -> set[str]:
    return set(model.inferences.live().values_list("inference_id", flat=True))


def test_what_is_deleted_by_hand_can_be_restored(editor, model, make_inference, queue):
    for name in "abc":
        make_inference(inference_id=name)
    told = editor.post(
        REMOVE, {"inference_id": ["a", "b"], "sure": "true"}, follow=True
    )
    assert "2 inferences deleted." in text(told)
    assert live(model) == {"c"}
    assert soft_deletion.soft_deleted(model).count() == 2
    assert queue == []
    noted = AuditEntry.objects.get(action="inference.soft_delete")
    assert noted.details["count"] == 2

    back = take_back(editor, told)
    assert "2 inferences restored." in text(back)
    assert live(model) == {"a", "b", "c"}
    again = take_back(editor, told)
    assert "Nothing is restored" in text(again)


def test_an_undo_restores_what_its_act_hid_and_nothing_else(
    editor, model, make_inference, settings
):
    settings.ISTORE_REMOVAL_BATCH = 2
    names = [make_inference().inference_id for _ in range(7)]
    before = {"inference_id": names[3], "sure": "true"}
    editor.post(REMOVE, before, follow=True)
    told = editor.post(REMOVE, {"everything": "true", "sure": "true"}, follow=True)
    assert "6 inferences deleted." in text(told)

    take_back(editor, told)

    assert live(model) == set(names) - {names[3]}


def test_all_but_some_are_deleted(editor, model, make_inference):
    for name in "abcd":
        make_inference(inference_id=name)
    chosen = {"everything": "true", "exclude_inference_id": ["b", "d"]}
    asked = editor.post(REMOVE, chosen)
    assert "Delete these 2 inferences?" in text(asked)
    told = editor.post(REMOVE, {**chosen, "sure": "true"}, follow=True)
    assert live(model) == {"b", "d"}
    take_back(editor, told)
    assert live(model) == {"a", "b", "c", "d"}


def test_an_undo_is_for_who_deleted(editor, project, model, make_inference):
    make_inference(inference_id="a")
    told = editor.post(REMOVE, {"inference_id": "a", "sure": "true"}, follow=True)
    address, fields = undo_of(told)
    other = log_in(project, "igor")
    refused = other.post(address, fields, follow=True)
    assert "cannot be undone here" in text(refused)
    damaged = {**fields, "hidden": fields["hidden"][0][:-2]}
    assert "cannot be undone here" in text(editor.post(address, damaged, follow=True))
    assert live(model) == set()
    Membership.objects.filter(user__username="maria").update(role=Role.VIEWER)
    assert editor.post(address, fields).status_code == 403
    assert live(model) == set()


def test_an_undo_of_another_model_restores_nothing(
    editor, project, model, make_inference
):
    other = type(model).objects.create(
        model_id="other", project=project, task_type=model.task_type
    )
    make_inference(inference_id="a")
    make_inference(inference_id="a", to=other)
    told = editor.post(REMOVE, {"inference_id": "a", "sure": "true"}, follow=True)
    _, fields = undo_of(told)
    soft_deletion.hide_all("test", other, lambda: other.inferences.live())

    editor.post("/models/other/selection/unremove", fields)

    assert live(other) == set()


def test_for_good_wants_the_number_and_offers_no_undo(editor, model, make_inference):
    make_inference(inference_id="a")
    chosen = {"inference_id": "a", "sure": "true", "how": "hard"}
    refused = editor.post(REMOVE, chosen)
    assert refused.status_code == 400
    assert "Type 1 to delete this inference for good." in text(refused)
    assert live(model) == {"a"}
    told = editor.post(REMOVE, {**chosen, "number": "1"}, follow=True)
    assert "1 inference deleted for good." in text(told)
    assert not offers_undo(told)
    assert not soft_deletion.soft_deleted(model).exists()


def test_what_is_meant_is_shown(editor, model, make_inference):
    for number in range(15):
        make_inference(inference_id=f"ship-{number:02}")
    some = text(editor.post(REMOVE, {"inference_id": ["ship-03", "ship-07"]}))
    assert 'title="ship-03"' in some
    assert 'title="ship-01"' not in some
    everything = {"everything": "true", "exclude_inference_id": "ship-14"}
    page = text(editor.post(f"{MODEL}/selection/protect", everything))
    assert page.count("<li title=") == 12
    assert "of 14" in page
    assert 'title="ship-14"' not in page
    for other in ("exports/new", "add-to-dataset"):
        page = text(editor.post(f"{MODEL}/{other}", everything))
        assert page.count("<li title=") == 12, other
        assert 'title="ship-14"' not in page, other
