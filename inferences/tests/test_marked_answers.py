"""Labels have colours of their own, and what a question asked for is marked."""

from __future__ import annotations

import json

import pytest
from django.http import QueryDict
from django.urls import reverse

from inferences.tests.pages import (
    browse,
    text,
)
from inferences.web.view_models.colours import colours_of
from inferences.web.view_models.matches import detection_test
from inferences.web.view_models.questions import Question
from istore.models import Role


def test_two_labels_never_share_a_colour(model, make_inference):
    names = ["car", "bus", "person", "truck", *(f"class {n}" for n in range(44))]
    for name in names:
        make_inference(detections=[(name, 0.5)])
    colours = colours_of(model)
    assert [colours(name) for name in names] == list(range(48))
    assert colours("never said") == colours_of(type(model).objects.get())("never said")
    assert 36 <= colours("never said") < 48
    assert colours("\ud800") < 48


@pytest.mark.parametrize("hue", ["20", "-1", "01", "²", "1.5", "9" * 5000])
def test_a_label_gets_no_other_colour_than_those_offered(
    model, make_inference, person, hue
):
    make_inference(detections=[("car", 0.5)])
    page = reverse("inferences:colours", args=[model.project, model.model_id])
    assert (
        person(Role.EDITOR).post(page, {"label": "car", "hue": hue}).status_code == 404
    )
    assert colours_of(model)("car") == 0


@pytest.mark.parametrize("size", ["²", "0", "9" * 5000])
def test_a_size_of_thumbnails_that_is_none_is_left_alone(model, person, size):
    client = person()
    client.cookies["thumbnails"] = size
    page = reverse("inferences:browse", args=[model.project, model.model_id])
    assert client.get(page).status_code == 200


@pytest.mark.parametrize(
    ("query", "marked"),
    [
        ("label=ship", {("ship", 0.9), ("ship", 0.3)}),
        ("max_score=0.5", {("ship", 0.3), ("crane", 0.4)}),
        ("label=ship&max_score=0.5", {("ship", 0.3)}),
        ("q=label:crane OR score>=0.9", {("crane", 0.4), ("ship", 0.9)}),
        ("q=NOT label:ship", None),
        ("q=label:crane NOT label:tug", {("crane", 0.4)}),
        ("metadata=camera=north", None),
        ("source=quay", None),
        ("q=label:", None),
    ],
)
def test_what_a_question_asked_for_is_known(model, query, marked):
    test = detection_test(Question(QueryDict(query)))
    found = {("ship", 0.9), ("ship", 0.3), ("crane", 0.4)}
    got = None if test is None else {each for each in found if test(*each)}
    assert got == marked


def test_a_card_names_what_was_asked_for(person, model, make_inference):
    boxes = [
        {"label": "face", "score": score, "bounding_box": BOX} for score in (0.94, 0.42)
    ]
    make_inference(
        data=json.dumps({"object_detection": boxes}),
        detections=[("face", 0.94), ("face", 0.42)],
    )
    content = text(browse(person(), model, max_score="0.6"))
    assert ">0.42<" in content and "+1 other<" in content
    assert ">0.94<" not in content


BOX = {"xmin": 1, "ymin": 1, "xmax": 9, "ymax": 9}
