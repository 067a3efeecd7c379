from __future__ import annotations

import json

import pytest
from django.urls import reverse

from istore.models import Role

pytestmark = pytest.mark.django_db


@pytest.fixture
def offered(person, model):
    client = person(Role.VIEWER)

    def ask(key: str, part: str = "") -> list[list]:
        address = reverse("inferences:values", args=[model.project, model.model_id])
        response = client.get(address, {"key": key, "part": part})
        assert response.status_code == 200
        return json.loads(response.content)["values"]

    return ask


def test_values_are_offered_with_their_counts_most_frequent_first(
    offered, make_inference
):
    for camera in ("north", "south", "north", "north east"):
        make_inference({"camera": camera, "frame": 7, "model_version": "1.2"})
    assert offered("camera") == [["north", 2], ["north east", 1], ["south", 1]]
    assert offered("camera", "NOR") == [["north", 2], ["north east", 1]]
    assert offered("frame") == [["7", 4]]
    assert offered("version", "1") == [["1.2", 4]]
    assert offered("nobody") == []


def test_values_of_what_cannot_be_seen_are_not_offered(person, model):
    address = reverse("inferences:values", args=[model.project, model.model_id])
    assert person(None).get(address, {"key": "camera"}).status_code == 404
