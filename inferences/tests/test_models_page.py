"""The list of models, and the page on which a model says what it holds."""

from __future__ import annotations

from django.urls import reverse

from inferences.maintenance import storage_by_model
from inferences.store import removal
from inferences.tests.pages import (
    one_line,
    text,
)
from istore.models import Role


def test_models_are_listed_with_count_and_state(person, model, make_inference):
    make_inference()
    make_inference()
    page = text(person().get("/"))
    assert "yolo-harbour" in page
    assert ">2</p>" in page
    assert "storing" in page


def test_a_model_says_what_its_inputs_take_up(person, model, make_inference, settings):
    kept = {"data_storage_key": "1/1/x/input", "data_size": 2000}
    make_inference(**kept)
    make_inference(data_size=9000)  # its input is gone
    hidden = make_inference(**kept)
    removal.hide(model, [hidden.id])
    client = person()
    address = reverse("inferences:activity", args=[model.model_id]) + "?part=storage"
    assert "4.0 KB of inputs." in one_line(client.get(address))

    settings.ISTORE_COUNT_AT_ONCE = 1
    assert "more than 2.0 KB of inputs." in one_line(client.get(address))
    storage_by_model.measure()
    assert "4.0 KB of inputs, measured" in one_line(client.get(address))


def test_a_model_that_was_emptied_does_not_wait_for_its_first(
    person, model, make_inference
):
    client, address = person(), reverse("inferences:activity", args=[model.model_id])
    assert "Waiting for the first inference" in text(client.get(address))
    gone = make_inference()
    removal.remove_one("test", model, gone.inference_id)
    assert "No inference is left" in text(client.get(address))


def test_an_empty_store_says_how_to_send_the_first_inference(person, model, settings):
    settings.ISTORE_PROXY_URL = "https://models.example.org"
    page = text(person(Role.ADMINISTRATOR).get("/"))
    assert "Send the first inference" in page
    assert "https://models.example.org/v2/models/yolo-harbour/infer" in page


def test_a_person_of_no_project_is_told_so(person):
    assert "You belong to no project yet" in text(person(None).get("/"))
