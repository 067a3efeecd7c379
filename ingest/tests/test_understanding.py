"""Answers that nobody can read, and the versions of models, as records tell of them."""

from __future__ import annotations

import json

import pytest

from inferences.models import InferencePayload
from inferences.search import text
from inferences.search.filters import matching
from inferences.tests.model_type_cases import INFERENCES, given
from ingest.tests.builders import DETECTED, capture
from istore.models import Role

pytestmark = pytest.mark.django_db

ODD = {
    "outputs": [
        {"name": "x", "datatype": "FP32", "shape": [1, 7, 3], "data": [0.5] * 21}
    ]
}


@pytest.fixture
def stored(deliver, model):
    def stored(inference_id="a", **fields):
        deliver(capture(model, inference_id, **fields))
        model.refresh_from_db()
        row = model.inferences.get(inference_id=inference_id)
        return InferencePayload.objects.beside(model).get(id=row.id)

    return stored


def found(model, query: str) -> set[str]:
    rows = matching(model, text.parse(query))
    return set(rows.values_list("inference_id", flat=True))


def test_what_nobody_understands_is_warned_of_and_found(stored, model, api, client):
    odd = stored("odd", answer=ODD)
    stored("broken", answer=b"not JSON", inline=False)
    stored("plain", answer=DETECTED)
    stored("nothing", answer={"detections": []})

    assert odd.notes["warnings"] == [
        "The answer has none of the forms known of the task Object Detection."
    ]
    assert found(model, "is:not-understood") == {"odd", "broken"}
    assert found(model, "-is:not-understood") == {"plain", "nothing"}
    assert found(model, "has:warnings") == {"odd", "broken"}
    for body in (
        {"filter": {"is_not_understood": True}},
        {"query": "is:not-understood"},
    ):
        counted = api.post(f"{INFERENCES}/count", body, format="json").json()
        assert counted["count"] == 2
    listed = api.get(INFERENCES, {"warnings": "not-understood"}).json()["results"]
    assert {each["inference_id"] for each in listed} == {"odd", "broken"}


def test_a_warning_of_something_else_does_not_hide_it(stored):
    payload = stored(answer=ODD, warnings=["The proxy says so."])

    assert payload.notes["not_understood"] is True
    assert len(payload.notes["warnings"]) == 2


@pytest.mark.parametrize(
    ("answer", "marker", "version"),
    [
        ({**DETECTED, "model_version": "7"}, {}, "7"),
        ({**DETECTED, "model_version": 7}, {}, "7"),
        (DETECTED, {"model_version": "8"}, "8"),
        ({**DETECTED, "model_version": "7"}, {"model_version": "8"}, "7"),
    ],
)
def test_the_version_of_an_answer_is_kept(stored, model, answer, marker, version):
    payload = stored(answer=answer, **marker)

    assert payload.metadata["model_version"] == ["string", version]
    assert found(model, f"version:{version}") == {"a"}


@pytest.mark.parametrize(
    ("answer", "marker"),
    [
        (DETECTED, {}),
        ({**DETECTED, "model_version": ""}, {"model_version": None}),
    ],
)
def test_an_answer_without_a_version_has_none(stored, answer, marker):
    payload = stored(answer=answer, **marker)

    assert "model_version" not in payload.metadata


def test_the_version_that_the_caller_gave_stays(stored):
    own = {"key": "model_version", "type": "string", "value": "mine"}

    payload = stored(answer={**DETECTED, "model_version": "7"}, metadata=[own])

    assert payload.metadata["model_version"] == ["string", "mine"]


@pytest.mark.parametrize(
    ("parts", "place"),
    [
        ({"object_detection": [{"foo": 1}]}, "object_detection/0"),
        (
            {
                "object_detection": [
                    {
                        "label": "a",
                        "score": 1,
                        "xmin": 0,
                        "ymin": 0,
                        "xmax": 1,
                        "ymax": 1,
                    },
                    {"label": "b", "score": 1, "xmin": 0, "ymin": 0, "xmax": 1},
                ]
            },
            "object_detection/1",
        ),
        ({"image_classification": [{"car": 0.5}]}, "image_classification/0"),
        (
            {"image_segmentation": [{"label": "car", "contours": "x"}]},
            "image_segmentation/0",
        ),
        (
            {"oriented_object_detection": [{"label": "a", "cx": 1}]},
            "oriented_object_detection/0",
        ),
        ({"classification": [{"label": "a"}, {"label": None}]}, "classification/1"),
    ],
)
def test_an_item_that_cannot_be_read_is_refused_by_name(api, model, parts, place):
    response = api.post(INFERENCES, given("a", parts), format="json")

    assert response.status_code == 400, response.content
    assert response.json()["errors"][0]["pointer"] == f"/data/{place}"
    assert not model.inferences.exists()


def test_empty_lists_found_nothing(api, model):
    response = api.post(INFERENCES, given("a", {"object_detection": []}), format="json")

    assert response.status_code == 201
    assert found(model, "no:detections") == {"a"}
    assert found(model, "is:not-understood") == set()


def test_pages_count_and_mark_what_is_not_understood(stored, model, client, admin_user):
    stored("odd", answer=ODD)
    client.force_login(admin_user)

    page = client.get(
        f"/projects/{model.project.project_id}/models/{model.model_id}/inferences",
        {"warnings": "not-understood"},
        follow=True,
    ).content.decode()

    assert "not understood" in page
    assert "odd" in page


def test_a_viewer_may_ask(stored, model, api_as):
    stored("odd", answer=ODD)

    counted = api_as(Role.VIEWER).post(
        f"{INFERENCES}/count",
        json.dumps({"query": "is:not-understood"}),
        content_type="application/json",
    )

    assert counted.json()["count"] == 1
