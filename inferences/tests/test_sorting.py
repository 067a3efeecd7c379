from __future__ import annotations

from datetime import UTC, datetime

import pytest

FILTER = "/api/v1/models/yolo-harbour/inferences/filter"


@pytest.fixture
def harbour(make_inference):
    detections = {
        "both": [("ship", 0.5), ("boat", 0.9)],
        "ship": [("ship", 0.7)],
        "Zebra": [("Zebra", 0.7)],
        "unsure": [("anchor", None)],
        "nothing": [],
        "unknown": None,
    }
    for second, (name, found) in enumerate(detections.items()):
        at = datetime(2025, 6, 1, 0, 0, second, tzinfo=UTC)
        make_inference(inference_id=name, detections=found, created_at=at)


def ids(api, filters=None, **pagination) -> list[str]:
    response = api.post(FILTER, {"filters": filters or {}, "pagination": pagination})
    assert response.status_code == 200, response.content
    return [each["inference_id"] for each in response.json()["results"]]


def test_score_is_the_highest_of_all_and_none_comes_last(api, harbour):
    assert ids(api, sort="score", direction="desc") == [
        "both",
        "Zebra",
        "ship",
        "unknown",
        "nothing",
        "unsure",
    ]
    assert ids(api, sort="score")[:3] == ["ship", "Zebra", "both"]
    assert set(ids(api, sort="score")[3:]) == {"unsure", "nothing", "unknown"}


def test_score_is_that_of_the_detections_that_match(api, harbour):
    asked = {"deconstructed_inference_filter": {"labels": ["ship"]}}

    assert ids(api, asked, sort="score", direction="desc") == ["ship", "both"]


def test_label_is_that_of_the_highest_score_by_code_point(api, harbour):
    assert ids(api, sort="label")[:4] == ["Zebra", "unsure", "both", "ship"]
    assert ids(api, sort="label", direction="desc")[:4] == [
        "ship",
        "both",
        "unsure",
        "Zebra",
    ]
    assert set(ids(api, sort="label")[4:]) == {"nothing", "unknown"}


def test_label_is_that_of_the_detections_that_match(api, harbour):
    asked = {"deconstructed_inference_filter": {"maximum_score": 0.6}}

    assert ids(api, asked, sort="label") == ["both"]


def test_the_same_sort_as_a_plain_get(api, harbour):
    response = api.get("/api/v1/models/yolo-harbour/inferences?sort=label&limit=1")

    assert [each["inference_id"] for each in response.json()["results"]] == ["Zebra"]


@pytest.mark.parametrize(
    ("pagination", "status", "code"),
    [
        ({"sort": "size"}, 400, "validation-error"),
        ({"sort": "embedding_distance"}, 400, "validation-error"),
        ({"offset": 1_000_001}, 422, "query-too-expensive"),
    ],
)
def test_what_cannot_be_asked(api, model, pagination, status, code):
    response = api.post(FILTER, {"pagination": pagination})

    assert response.status_code == status
    assert response.json()["code"] == code


def test_a_cursor_of_another_order_is_refused(api, harbour):
    asked = {"pagination": {"sort": "score", "limit": 1}}
    cursor = api.post(FILTER, asked).json()["next"]

    for other in ({"sort": "label"}, {"sort": "score", "direction": "desc"}, {}):
        response = api.post(FILTER, {"pagination": {**other, "cursor": cursor}})
        assert response.status_code == 400
        assert response.json()["errors"][0]["pointer"] == "/pagination/cursor"
