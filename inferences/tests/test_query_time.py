"""No question keeps the database longer than it is allowed to."""

from __future__ import annotations

import pytest
from django.db import connection

MODEL = "/api/v1/models/yolo-harbour"
QUESTIONS = {
    "page": ("post", f"{MODEL}/inferences/filter", {}),
    "page by label": (
        "post",
        f"{MODEL}/inferences/filter",
        {"pagination": {"sort": "label"}},
    ),
    "list": ("get", f"{MODEL}/inferences", None),
    "count": ("post", f"{MODEL}/inferences/count", {}),
    "capped count": ("get", f"{MODEL}/inferences/count?limit=10", None),
    "statistics": (
        "post",
        f"{MODEL}/metadata/statistics",
        {"key": "frame", "type": "int"},
    ),
}


@pytest.fixture
def slow(make_inference, settings):
    """Rows that take a fifth of a second each to look at."""
    make_inference({"frame": 1})
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE inferences_inference RENAME TO stored")
        cursor.execute(
            "CREATE VIEW inferences_inference AS SELECT stored.* FROM stored, "
            "LATERAL (SELECT pg_sleep(0.2) WHERE stored.id IS NOT NULL OFFSET 0) AS z"
        )
    settings.ISTORE_QUERY_SECONDS = 0.05


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_question_that_takes_too_long_is_a_422(api, slow, name):
    method, address, body = QUESTIONS[name]

    response = getattr(api, method)(address, body)

    assert response.status_code == 422, response.content
    assert response.json()["code"] == "query-too-expensive"


def test_the_limit_ends_with_the_question(api, make_inference):
    make_inference()
    api.post(f"{MODEL}/inferences/filter", {})

    with connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() == ("0",)


def test_a_count_up_to_a_limit_says_whether_it_is_exact(api, make_inference):
    for number in range(4):
        make_inference({"frame": number})
    count = f"{MODEL}/inferences/count"

    assert api.post(count, {}).json() == {"count": 4}
    assert api.post(count, {"limit": 3}).json() == {"count": 3, "is_exact": False}
    assert api.post(count, {"limit": 4}).json() == {"count": 4, "is_exact": True}
    assert api.post(f"{count}?limit=2", {}).json()["count"] == 2
    asked = api.get(f"{count}?limit=9&metadata=frame:int<2").json()
    assert asked == {"count": 2, "is_exact": True}
    assert api.get(f"{count}?limit=x").status_code == 400
    assert api.get(count).status_code == 404  # no inference is called so


def test_counts_of_labels_leave_deleted_inferences_out(api, model, make_inference):
    for name in "abc":
        detections = [("ship", 0.9), ("ship", 0.2), ("boat", 0.4)]
        make_inference(inference_id=name, detections=detections)
    model.inferences.filter(inference_id="b").update(deleted=True)
    asked = {"deconstructed_inference_filter": {"labels": ["ship", "boat"]}}

    response = api.post(f"{MODEL}/inferences/count", {"filters": asked})

    assert response.json() == {"count": 2}
