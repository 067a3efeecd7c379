"""What a toast offers to take back is taken back by its form, and nothing else is."""

from __future__ import annotations

import html
import re

import pytest
from django.contrib.auth.models import User
from django.test import Client

from inferences.ground_truth.upsert import find_truth, put_truth
from inferences.models import MetadataChange, SavedView
from inferences.models.metadata_values import MetadataValue
from inferences.store import metadata_edits
from inferences.store.reading import find_inference
from istore.models import Membership, Role

pytestmark = pytest.mark.django_db
MODEL = "/models/yolo-harbour"


@pytest.fixture
def client(project) -> Client:
    user = User.objects.create_user("maria")
    Membership.objects.create(user=user, project=project, role=Role.EDITOR)
    client = Client()
    client.force_login(user)
    return client


def undo_of(response) -> tuple[str, dict[str, list[str]]]:
    """Where the form of the toast goes to, and what it says."""
    content = response.content.decode()
    found = re.search(
        r'<form class="undo" method="post" action="([^"]+)">(.*?)</form>', content, re.S
    )
    assert found, "nothing is offered"
    fields: dict[str, list[str]] = {}
    for name, value in re.findall(r'name="([^"]+)" value="([^"]*)"', found[2]):
        fields.setdefault(html.unescape(name), []).append(html.unescape(value))
    return html.unescape(found[1]), fields


def offers_undo(response) -> bool:
    return b'class="undo"' in response.content


def take_back(client: Client, response):
    address, fields = undo_of(response)
    return client.post(address, fields, follow=True)


def metadata(model, inference_id: str) -> dict[str, list[str]]:
    return find_inference(model, inference_id).payload.metadata


def test_a_removed_view_comes_back_as_it_was(client, model):
    kept = {"name": "Low & odd", "query": "?max_score=0.5&view=table"}
    client.post(f"{MODEL}/views", {**kept, "default": "true"})
    view = SavedView.objects.get()

    removed = client.post(f"{MODEL}/views/{view.pk}", {"remove": "true"}, follow=True)
    assert not SavedView.objects.exists()
    take_back(client, removed)

    again = SavedView.objects.get()
    assert (again.name, again.query) == (view.name, view.query)
    assert again.is_default


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ({"key": "camera", "type": "string", "value": "south"}, ["string", "north"]),
        ({"key": "camera", "type": "int", "value": "3"}, ["string", "north"]),
        ({"key": "camera", "remove": "true"}, ["string", "north"]),
        ({"key": "fresh", "type": "float", "value": "0.5"}, None),
    ],
)
def test_an_edit_of_metadata_is_taken_back(client, model, make_inference, given, left):
    make_inference({"camera": "north"}, inference_id="a")
    address = f"{MODEL}/inferences/a/change-metadata"

    told = client.post(address, {**given, "replace": "true"}, follow=True)
    assert metadata(model, "a").get(given["key"]) != left
    take_back(client, told)

    assert metadata(model, "a").get(given["key"]) == left
    assert MetadataChange.objects.count() == 2


def test_what_changed_nothing_is_not_taken_back(client, model, make_inference):
    make_inference({"camera": "north"}, inference_id="a")
    same = {"key": "camera", "type": "string", "value": "north", "replace": "true"}
    address = f"{MODEL}/inferences/a/change-metadata"

    assert not offers_undo(client.post(address, same, follow=True))
    gone = client.post(address, {"key": "none", "remove": "true"}, follow=True)
    assert not offers_undo(gone)


def test_a_ground_truth_is_taken_back(client, model, make_inference):
    make_inference(inference_id="a")
    first = {"boxes": [{"xmin": 1, "ymin": 2, "xmax": 3, "ymax": 4, "label": "ship"}]}
    put_truth("test", model, "a", first)
    before = find_truth(model, "a").truth
    address = f"{MODEL}/inferences/a/change-truth"

    told = client.post(address, {"form": "json", "json": '{"boxes": []}'}, follow=True)
    assert find_truth(model, "a").truth != before
    take_back(client, told)
    assert find_truth(model, "a").truth == before

    removed = client.post(address, {"remove": "true"}, follow=True)
    assert find_truth(model, "a") is None
    take_back(client, removed)
    assert find_truth(model, "a").truth == before


def test_a_tag_is_taken_back_where_nobody_changed_it_since(
    client, model, make_inference
):
    for name, has in (("none", {}), ("old", {"seen": "no"}), ("later", {})):
        make_inference({"camera": "north", **has}, inference_id=name)
    make_inference({"seen": "yes"}, inference_id="other")
    chosen = {"everything": "true", "query": "?metadata=camera:string=north"}
    label = {"key": "seen", "type": "string", "value": "yes", "replace": "true"}

    told = client.post(
        f"{MODEL}/selection/tag", {**chosen, **label, "sure": "true"}, follow=True
    )
    assert "3 inferences tagged" in told.content.decode()
    value = MetadataValue("seen", "string", "perhaps")
    metadata_edits.put_value("somebody", model, "later", value, replace=True)
    back = take_back(client, told)

    assert "2 inferences as before the tag. 1 changed meanwhile" in (
        back.content.decode()
    )
    assert "seen" not in metadata(model, "none")
    assert metadata(model, "old")["seen"] == ["string", "no"]
    assert metadata(model, "later")["seen"] == ["string", "perhaps"]
    assert metadata(model, "other")["seen"] == ["string", "yes"]
    found = client.get(f"{MODEL}/inferences", {"metadata": "seen:string=no"})
    assert b'data-id="old"' in found.content


def test_a_tag_of_a_type_that_there_is_not_changes_nothing(
    client, model, make_inference
):
    make_inference(inference_id="a")
    label = {"key": "seen", "type": "colour", "value": "yes", "sure": "true"}
    page = client.post(
        f"{MODEL}/selection/tag", {**label, "inference_id": "a"}, follow=True
    )
    assert "A type is one of string, int, float, json." in page.content.decode()
    assert metadata(model, "a") == {}


def test_what_another_person_tagged_is_not_taken_back(client, model, make_inference):
    make_inference(inference_id="a")
    value = MetadataValue("seen", "string", "yes")
    metadata_edits.put_value("user igor", model, "a", value, replace=False)
    newest = metadata_edits.latest_change(model)
    form = {"key": "seen", "type": "string", "value": "yes"}

    client.post(
        f"{MODEL}/selection/untag", {**form, "since": "0", "until": str(newest)}
    )

    assert metadata(model, "a")["seen"] == ["string", "yes"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"since": "x"},
        {"until": ""},
        {"type": "int"},
        {"type": "colour"},
        {"key": ""},
        {"key": "a\0b"},
    ],
)
def test_a_form_that_cannot_be_read_takes_nothing_back(
    client, model, make_inference, wrong
):
    make_inference(inference_id="a")
    given = {"inference_id": "a", "sure": "true", "key": "seen"}
    label = {**given, "type": "string", "value": "yes"}
    told = client.post(f"{MODEL}/selection/tag", label, follow=True)
    address, fields = undo_of(told)

    assert client.post(address, {**fields, **wrong}).status_code in (302, 400)
    assert metadata(model, "a")["seen"] == ["string", "yes"]


def test_a_viewer_takes_nothing_back(client, model, project):
    Membership.objects.update(role=Role.VIEWER)
    assert client.post(f"{MODEL}/selection/untag", {}).status_code == 403


def test_all_that_was_protected_is_taken_back_however_many(
    client, model, make_inference
):
    names = [make_inference().inference_id for _ in range(230)]
    given = {"inference_id": names, "sure": "true"}
    told = client.post(f"{MODEL}/selection/protect", given, follow=True)
    assert model.inferences.filter(is_protected=True).count() == 230
    take_back(client, told)
    assert not model.inferences.filter(is_protected=True).exists()


def test_a_protection_from_before_is_not_lost_by_taking_back(
    client, model, make_inference
):
    make_inference(inference_id="a", is_protected=True)
    make_inference(inference_id="b")
    given = {"inference_id": ["a", "b"], "sure": "true"}

    told = client.post(f"{MODEL}/selection/protect", given, follow=True)

    assert "1 protected." in told.content.decode()
    assert not offers_undo(told)


def test_a_removal_for_good_says_before_that_nothing_brings_it_back(
    client, model, make_inference
):
    make_inference(inference_id="a")
    asked = client.post(f"{MODEL}/selection/remove", {"inference_id": "a"})
    assert "Nothing brings them back." in asked.content.decode()
    sure = {"inference_id": "a", "sure": "true", "how": "hard", "number": "1"}
    assert not offers_undo(client.post(f"{MODEL}/selection/remove", sure, follow=True))
