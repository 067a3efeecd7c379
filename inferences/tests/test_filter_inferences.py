from __future__ import annotations

import pytest

from inferences.models import SLOTS
from istore.models import Project, Role

FILTER = "/api/v1/models/yolo-harbour/inferences/filter"
COUNT = "/api/v1/models/yolo-harbour/inferences/count"


def ids(api, **filters) -> list[str]:
    response = api.post(FILTER, {"filters": filters})
    assert response.status_code == 200, response.content
    return [each["inference_id"] for each in response.json()["results"]]


def comparison(key, operator, value, type="int"):
    return {"key": key, "type": type, "operator": operator, "value": value}


@pytest.mark.parametrize("slots", ["free", "taken"])
@pytest.mark.parametrize(
    ("operator", "value", "found"),
    [
        ("=", "2", ["2"]),
        ("!=", "2", ["1", "10"]),
        (">", "2", ["10"]),
        (">=", "2", ["2", "10"]),
        ("<", "2", ["1"]),
        ("in", "[1, 10]", ["1", "10"]),
    ],
)
def test_compares_as_numbers(api, make_inference, operator, value, found, slots):
    if slots == "taken":
        make_inference({f"key_{slot}": 0 for slot in SLOTS["integer"]})
    for number in (1, 2, 10):
        make_inference({"frame": number}, inference_id=str(number))

    assert sorted(ids(api, metadata_filter=[comparison("frame", operator, value)])) == (
        sorted(found)
    )


@pytest.mark.parametrize(
    ("type_", "path", "operator", "value", "matches"),
    [
        ("json.float", "pose.angle", ">", "10", True),
        ("json.float", "pose.angle", ">", "10.5", False),
        ("json.int", "pose.angle", ">", "0", False),
        ("json.int", "pose.turns", "=", "3", True),
        ("json.float", "pose.turns", "=", "3", True),
        ("json.float", "pose.text", "=", "10.5", True),
        ("json.int", "pose.seven", "=", "7", True),
        ("json.string", "pose.text", "=", "10.5", True),
        ("json.string", "pose.angle", "=", "10.5", False),
        ("json.string", "pose.list.1.name", "=", "b", True),
        ("json.int", "pose.list.0", "=", "5", True),
        ("json.int", "pose.big", "=", "9007199254740993", True),
        ("json.int", "pose.big", "=", "9007199254740992", False),
    ],
)
def test_asks_inside_json(api, make_inference, type_, path, operator, value, matches):
    make_inference(
        {
            "pose": {
                "angle": 10.5,
                "turns": 3,
                "text": "10.5",
                "seven": "7",
                "list": [5, {"name": "b"}],
                "big": 2**53 + 1,
            }
        },
        inference_id="a",
    )
    asked = comparison(path, operator, value, type_)

    assert ids(api, metadata_filter=[asked]) == (["a"] if matches else [])


def test_long_texts_are_ordered_to_the_end(api, make_inference):
    for ending in "abc":
        make_inference({"note": "ü" * 400 + ending}, inference_id=ending)

    asked = comparison("note", ">", "ü" * 400 + "b", "string")
    same = comparison("note", "=", "ü" * 400 + "b", "string")

    assert ids(api, metadata_filter=[asked]) == ["c"]
    assert ids(api, metadata_filter=[same]) == ["b"]


def test_label_and_score_are_tested_on_the_same_detection(api, make_inference):
    make_inference(detections=[("ship", 0.3), ("boat", 0.95)], inference_id="apart")
    make_inference(detections=[("ship", 0.9)], inference_id="together")

    asked = {"labels": ["ship"], "minimum_score": 0.9}
    assert ids(api, deconstructed_inference_filter=asked) == ["together"]


def test_a_circle_holds_what_is_near(api, make_inference):
    make_inference(latitude=51.95, longitude=4.14, inference_id="near")
    make_inference(latitude=51.99, longitude=4.14, inference_id="far")
    make_inference(inference_id="nowhere")
    circle = {"center": {"latitude": 51.95, "longitude": 4.141}, "radius": 100}

    assert ids(api, location_filter={"gps_coordinates_circle": circle}) == ["near"]


def test_a_rectangle_crosses_the_antimeridian_the_shorter_way(api, make_inference):
    make_inference(latitude=0, longitude=179.5, inference_id="west of it")
    make_inference(latitude=0, longitude=-179.5, inference_id="east of it")
    make_inference(latitude=0, longitude=0, inference_id="far away")
    corners = {
        "p1": {"latitude": 1, "longitude": 179},
        "p2": {"latitude": -1, "longitude": -179},
    }

    found = ids(api, location_filter={"gps_coordinates_rectangle": corners})
    assert sorted(found) == ["east of it", "west of it"]


def test_a_page_costs_the_same_queries_whatever_its_length(
    api, make_inference, django_assert_max_num_queries
):
    for number in range(20):
        make_inference({"frame": number})
    api.post(FILTER, {})

    with django_assert_max_num_queries(10):
        page = api.post(FILTER, {"pagination": {"limit": 10}}).json()

    assert len(page["results"]) == 10


@pytest.mark.parametrize("direction", ["asc", "desc"])
def test_cursors_walk_every_inference_once(api, make_inference, direction):
    stored = [make_inference().inference_id for _ in range(7)]
    found, cursor = [], None
    while True:
        pagination = {"limit": 3, "direction": direction, "cursor": cursor}
        page = api.post(FILTER, {"pagination": pagination}).json()
        found += [each["inference_id"] for each in page["results"]]
        cursor = page["next"]
        if not cursor:
            break

    assert sorted(found) == sorted(stored)


def test_a_cursor_of_another_filter_is_refused(api, make_inference):
    for _ in range(3):
        make_inference(data_source="quay")
    cursor = api.post(FILTER, {"pagination": {"limit": 1}}).json()["next"]

    body = {"filters": {"data_source_filter": "quay"}, "pagination": {"cursor": cursor}}
    response = api.post(FILTER, body)

    assert response.status_code == 400
    assert response.json()["errors"][0]["pointer"] == "/pagination/cursor"


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        (
            {"filters": {"metadata_filters": []}},
            "unknown-field",
            "/filters/metadata_filters",
        ),
        ({"filtre": {}}, "unknown-field", "/filtre"),
        ({"filter": {"and": []}}, "validation-error", "/filter/and"),
        *(
            ({"filters": filters}, "validation-error", f"/filters/{place}")
            for filters, place in [
                ({"metadata_filter": [None]}, "metadata_filter/0"),
                ({"time_window_filter": {"end": ""}}, "time_window_filter/end"),
                ({"time_window_filter": {"start": " "}}, "time_window_filter/start"),
                ({"data_hash_filter": ""}, "data_hash_filter"),
            ]
        ),
        (
            {"filters": {"metadata_filter": [comparison("f", ">", "many")]}},
            "validation-error",
            "/filters/metadata_filter/0",
        ),
        ({"pagination": {"limit": 0}}, "validation-error", "/pagination/limit"),
        ({"pagination": {"limit": "5"}}, "validation-error", "/pagination/limit"),
        ({"pagination": {"cursor": "x"}}, "validation-error", "/pagination/cursor"),
        (
            {"filters": {"data_hash_filter": "ab"}},
            "validation-error",
            "/filters/data_hash_filter",
        ),
        (
            {
                "filters": {
                    "time_window_filter": {"start": "2026-02-01", "end": "2026-01-01"}
                }
            },
            "validation-error",
            "/filters/time_window_filter",
        ),
    ],
)
def test_bad_input_is_a_400_that_names_its_place(api, model, body, code, pointer):
    response = api.post(FILTER, body)

    problem = response.json()
    assert response.status_code == 400, problem
    assert response["Content-Type"] == "application/problem+json"
    assert problem["code"] == code
    assert problem["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"presign": NaN}', "number-out-of-range"),
        (b'{"pagination": {"limit": 1e400}}', "number-out-of-range"),
        (b'{"presign": true, "presign": true}', "duplicate-key"),
        (b"[" * 100 + b"]" * 100, "json-too-deep"),
        (b'{"filters": "\xff"}', "invalid-encoding"),
        (b'{"filters": {"data_source_filter": "\\u0000"}}', "invalid-encoding"),
        (b'{"filters": {"data_source_filter": "\\ud800"}}', "invalid-encoding"),
        (b"{", "malformed-json"),
        (b"[]", "validation-error"),
    ],
)
def test_json_is_read_strictly(api, model, body, code):
    response = api.generic("POST", FILTER, body, content_type="application/json")

    assert response.status_code == 400, response.content
    assert response.json()["code"] == code


def test_without_a_token_nothing_is_told(client, model):
    response = client.post(FILTER, {}, content_type="application/json")

    assert response.status_code == 401
    assert response.json()["code"] == "not-authenticated"


def test_another_projects_model_looks_like_an_absent_one(api_as, model):
    stranger = api_as(Role.ADMINISTRATOR, of=Project.objects.create(project_id="other"))

    foreign = stranger.post(FILTER, {})
    absent = stranger.post(FILTER.replace("yolo", "no"), {})

    assert foreign.status_code == absent.status_code == 404
    assert foreign.json() == absent.json() | {
        "request_id": foreign.json()["request_id"]
    }


def test_a_viewer_may_ask(api_as, make_inference):
    make_inference()

    assert api_as(Role.VIEWER).post(COUNT, {}).json() == {"count": 1}


def test_the_same_question_as_a_plain_get(api, make_inference):
    make_inference({"camera": "north"}, inference_id="a")
    make_inference({"camera": "south"}, inference_id="b")

    page = api.get("/api/v1/models/yolo-harbour/inferences?metadata=camera=north")
    wrong = api.get("/api/v1/models/yolo-harbour/inferences?metadata=frame:int>x")
    unknown = api.get("/api/v1/models/yolo-harbour/inferences?metadat=1")

    assert [each["inference_id"] for each in page.json()["results"]] == ["a"]
    assert wrong.status_code == 400
    assert unknown.json()["code"] == "unknown-parameter"


def test_one_inference_by_its_id_whatever_it_is_called(api, make_inference):
    for name in ("filter", "count", "a b/ü", "input"):
        make_inference(inference_id=name)
        found = api.get(f"/api/v1/models/yolo-harbour/inferences/{name}")
        assert found.json()["inference_id"] == name
