"""The list of models, and the page on which a model says what it holds."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.urls import reverse

from inferences.maintenance import storage_by_model
from inferences.models import GroundTruth, RegisteredModel, TaskType
from inferences.store import removal
from inferences.tests.pages import (
    one_line,
    text,
)
from istore.db import clock
from istore.models import Role


def test_models_are_listed_with_count_and_state(person, model, make_inference):
    make_inference()
    make_inference()
    page = text(person().get("/?figures=true"))
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


@pytest.fixture
def three_models(model, make_inference):
    """``yolo-harbour`` of today, ``alpha`` of yesterday, ``zeta`` without an inference."""
    alpha, zeta = (
        RegisteredModel.objects.create(
            model_id=name, project=model.project, task_type=TaskType.TABULAR_REGRESSION
        )
        for name in ("alpha", "zeta")
    )
    make_inference(created_at=datetime(2025, 6, 2, tzinfo=UTC))
    make_inference(to=alpha, created_at=datetime(2025, 6, 1, tzinfo=UTC))
    return alpha, zeta


def names_of(page: str) -> list[str]:
    return re.findall(r'<a href="/[^"]+/inferences">([\w-]+)</a>', page)


@pytest.mark.parametrize("view", ["cards", "table"])
def test_models_are_sorted_and_searched(person, three_models, view):
    client = person()
    order = {
        "": ["alpha", "yolo-harbour", "zeta"],
        "last": ["yolo-harbour", "alpha", "zeta"],
        "nonsense": ["alpha", "yolo-harbour", "zeta"],
    }
    for sort, names in order.items():
        assert names_of(text(client.get("/", {"sort": sort, "view": view}))) == names
    page = text(client.get("/", {"q": "REGRESS", "view": view}))
    assert names_of(page) == ["alpha", "zeta"]
    assert "has “nobody”" in one_line(client.get("/", {"q": "nobody"}))


def test_a_person_pins_models_to_the_top_for_themselves(person, three_models):
    client, other = person(), person()
    _, zeta = three_models
    address = reverse("inferences:pin", args=[zeta.project, zeta.model_id])
    there = client.post(address, {"pinned": "true", "back": "/?sort=last"})
    assert there.url == "/?sort=last"
    assert names_of(text(client.get("/")))[0] == "zeta"
    assert names_of(text(other.get("/")))[0] == "alpha"
    assert client.post(address, {"back": "https://example.org"}).url == "/"
    assert client.post(address, {"back": "nowhere"}).url == "nowhere"  # no view's name
    assert names_of(text(client.get("/")))[0] == "alpha"
    assert person(None).post(address, {"pinned": "true"}).status_code == 404


def test_a_model_says_how_many_warnings_and_how_much_agreement_it_has(
    person, model, make_inference
):
    now = clock.now()
    for number in range(4):
        made = make_inference(
            inference_id=f"new-{number}",
            created_at=now - timedelta(days=1),
            notes={"warnings": ["cut"]} if number == 0 else {},
            detections=[("ship", 0.9)],
        )
        put_agreement(model, made, agrees=number != 1)
    old = make_inference(created_at=now - timedelta(days=40))
    put_agreement(model, old, agrees=True)
    page = one_line(person().get("/?figures=true"))
    assert "20 % with warnings" in page
    assert "75 % agree, -25.0 points" in page
    # The share of each five days is a line; a point opens what was judged in its days.
    assert f"Agreement of {model} with its ground truth in the last 60 days" in page
    lines = page.split('class="graph strip"')[1].split("</figure>")[0]
    assert lines.count("<circle") == 2
    assert "75.0 % agree" in lines
    assert "truth%3Agiven" in lines


def put_agreement(model, inference, agrees: bool) -> None:
    GroundTruth.objects.create(
        id=inference.id,
        registered_model=model,
        truth={"labels": ["ship"]},
        agrees=agrees,
        actor="test",
        set_at=clock.now(),
    )
