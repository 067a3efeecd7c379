"""Export tasks as the API opens, shows, stops and retries them."""

from __future__ import annotations

import io
import json
import zipfile

import pytest

from exports.models import ExportTask
from exports.tasks import run_export_task
from exports.tests.conftest import lines_of, opened, png
from inferences.models import RegisteredModel
from istore import blobs
from istore.models import AuditEntry, Project, Role

TASKS = "/api/v1/models/yolo-harbour/export-tasks"
SHIP = {"label": "ship", "score": 0.9, "xmin": 1, "ymin": 2, "xmax": 30, "ymax": 40}


def create(api, **body):
    return api.post(TASKS, body)


def run(task_id: str) -> None:
    run_export_task(task_id)


def test_a_task_is_created_carried_out_and_downloaded(api, make_stored, open_link):
    make_stored(png(), [SHIP], inference_id="a", metadata=())
    make_stored(png(10, 10), [], inference_id="b")

    created = create(
        api, include_inferences_as_annotations=True, include_custom_metadata=True
    )
    before = created.json()
    run(before["id"])
    after = api.get(f"{TASKS}/{before['id']}").json()

    assert created.status_code == 201
    assert before["state"] in ("pending", "scheduled")
    assert before["expected_count"] == 2
    assert before["presigned_url"] is None
    assert after["state"] == "complete"
    assert (after["progress_count"], after["expected_count"]) == (2, 2)
    _, linked = open_link(after["presigned_url"])
    served = api.get(f"{TASKS}/{before['id']}/archive")
    assert linked == b"".join(served.streaming_content)
    assert after["filename"] in served["Content-Disposition"]
    archive = zipfile.ZipFile(io.BytesIO(linked))
    assert archive.testzip() is None
    first, second = map(json.loads, archive.read("annotations.jsonl").splitlines())
    assert next(iter(first)) == "path"
    assert first == {
        "path": "data/00000001.png",
        "inference_id": "a",
        "annotations": [
            {
                "class_label": "ship",
                "bbox": {"xmin": 1.0, "ymin": 2.0, "xmax": 30.0, "ymax": 40.0},
                "score": 0.9,
            }
        ],
        "metadata": {},
    }
    assert second["annotations"] == []
    assert archive.read(first["path"]) == png()


# -- which inferences


@pytest.fixture
def five(make_stored):
    for number in range(5):
        source = "quay-3" if number < 3 else "quay-4"
        make_stored(png(8, 8), [SHIP], inference_id=f"i/{number}", data_source=source)


def names_of(task: dict) -> list[str]:
    run(task["id"])
    archive = opened(ExportTask.objects.get(pk=task["id"]))
    return [line["inference_id"] for line in lines_of(archive, "inferences.ndjson")]


QUAY_3 = {"data_source_filter": "quay-3"}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, "01234"),
        ({"filters": {}}, "01234"),
        ({"filters": QUAY_3}, "012"),
        ({"query": "source:quay-4"}, "34"),
        ({"filter": {"not": QUAY_3}}, "34"),
        ({"filter": {"not": QUAY_3}, "query": "label:ship"}, "34"),
        ({"filters": QUAY_3, "include_inference_ids": ["i/4", "i/0"]}, "0124"),
        ({"filters": QUAY_3, "exclude_inference_ids": ["i/1", "i/4"]}, "02"),
        (
            {
                "filters": QUAY_3,
                "include_inference_ids": ["i/4", "i/3"],
                "exclude_inference_ids": ["i/3", "i/0"],
            },
            "124",
        ),
        ({"only_included": True, "include_inference_ids": ["i/3", "i/3"]}, "3"),
        ({"only_included": True}, ""),
        ({"filters": {"data_source_filter": "nowhere"}}, ""),
        (
            {
                "filters": {"data_source_filter": "nowhere"},
                "include_inference_ids": ["i/2"],
            },
            "2",
        ),
        ({"exclude_inference_ids": [f"i/{n}" for n in range(5)]}, ""),
    ],
)
def test_the_set_is_what_matches_or_is_included_and_not_excluded(
    api, five, body, expected
):
    task = create(api, format="ndjson", **body).json()

    assert task["expected_count"] == len(expected)
    assert names_of(task) == [f"i/{number}" for number in expected]
    assert ExportTask.objects.get().expected_count == len(expected)


def test_ids_of_another_model_choose_nothing(api, five, project, make_inference):
    other = RegisteredModel.objects.create(model_id="other", project=project)
    make_inference(to=other, inference_id="theirs")

    body = {"only_included": True, "include_inference_ids": ["theirs", "i/1"]}
    task = create(api, format="ndjson", **body).json()

    assert task["expected_count"] == 1
    assert names_of(task) == ["i/1"]
    told = api.get(f"{TASKS}/{task['id']}").json()
    assert told["selection"]["unknown_inference_ids"] == ["theirs"]
    assert told["warnings"][0]["code"] == "unknown-included"


# -- what is refused


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"filter_": {}}, "/filter_"),
        ({"filters": {"metadata_filters": []}}, "/filters/metadata_filters"),
        ({"format": "zip"}, "/format"),
        ({"container": "rar"}, "/container"),
        ({"include_inference_ids": "a"}, "/include_inference_ids"),
        ({"include_inference_ids": [""]}, "/include_inference_ids/0"),
        ({"exclude_inference_ids": [7]}, "/exclude_inference_ids/0"),
        ({"include_custom_metadata": "yes"}, "/include_custom_metadata"),
        ({"options": {"shape": "flat"}}, "/options/shape"),
        ({"query": "label:"}, "/query"),
        ({"only_included": True, "query": "label:ship"}, "/only_included"),
    ],
)
def test_what_cannot_be_read_is_a_400_that_names_it_and_opens_nothing(
    api, model, body, place
):
    response = create(api, **body)

    assert response.status_code == 400, response.content
    assert response["Content-Type"] == "application/problem+json"
    assert response.json()["errors"][0]["pointer"] == place
    assert not ExportTask.objects.exists()


def test_an_option_of_a_format_is_taken_where_it_is_one(api, model):
    body = {"format": "open_inference_parquet", "options": {"shape": "sideways"}}

    refused = create(api, **body)
    body["options"] = {"shape": "exploded"}

    assert refused.json()["errors"][0]["pointer"] == "/options/shape"
    assert create(api, **body).json()["options"]["shape"] == "exploded"


def test_more_than_the_limit_is_a_422(api, five, settings):
    settings.ISTORE_EXPORT_MAX = 4

    response = create(api)
    fewer = create(api, exclude_inference_ids=["i/0"])

    assert (response.status_code, response.json()["code"]) == (422, "too-many-matches")
    assert fewer.status_code == 201


def test_more_tasks_than_a_project_may_have_at_once_is_a_429(api, five, settings):
    settings.ISTORE_EXPORTS_RUNNING = 2
    tasks = [create(api).json()["id"] for _ in range(2)]

    refused = create(api)
    run(tasks[0])
    accepted = create(api)

    assert (refused.status_code, refused.json()["code"]) == (429, "rate-limited")
    assert refused["Retry-After"]
    assert accepted.status_code == 201


# -- stop, retry, list


def test_what_has_ended_is_neither_stopped_nor_tried_again(api, five):
    task = create(api).json()["id"]
    run(task)

    for act, code in (("stop", "task-already-ended"), ("retry", "task-not-ended")):
        response = api.post(f"{TASKS}/{task}/{act}", {})
        assert (response.status_code, response.json()["code"]) == (409, code)


def test_a_stopped_task_is_tried_again_with_the_set_it_had(api, five, make_stored):
    task = create(api, format="ndjson").json()
    ExportTask.objects.get().claim()
    found = ExportTask.objects.get()
    found.members().fix(found)
    found.release()
    stopped = api.post(f"{TASKS}/{task['id']}/stop", {}).json()
    make_stored(inference_id="late")

    again = api.post(f"{TASKS}/{task['id']}/retry", {}).json()

    assert (stopped["state"], stopped["reason"]) == ("stopped", "Stopped by request.")
    assert again["state"] in ("pending", "scheduled")
    assert len(names_of(task)) == 5


def test_acts_are_in_the_audit_log(api, five):
    task = create(api).json()["id"]
    api.post(f"{TASKS}/{task}/stop", {})
    api.post(f"{TASKS}/{task}/retry", {})

    acts = AuditEntry.objects.filter(subject=f"yolo-harbour {task}").order_by("id")
    assert [each.action for each in acts] == [
        "export.create",
        "export.stop",
        "export.retry",
    ]


def test_the_list_is_newest_first_and_goes_on_by_a_cursor(api, five):
    tasks = [create(api).json()["id"] for _ in range(3)]
    api.post(f"{TASKS}/{tasks[0]}/stop", {})

    first = api.get(f"{TASKS}?limit=2").json()
    rest = api.get(f"{TASKS}?limit=2&cursor={first['next']}").json()
    stopped = api.get(f"{TASKS}?state=stopped").json()

    listed = [each["id"] for each in first["results"] + rest["results"]]
    assert listed == tasks[::-1]
    assert rest["next"] is None
    assert [each["id"] for each in stopped["results"]] == [tasks[0]]


@pytest.mark.parametrize("asked", ["limit=0", "state=odd", "cursor=x", "sort=id"])
def test_a_list_that_is_asked_wrongly_is_a_400(api, model, asked):
    assert api.get(f"{TASKS}?{asked}").status_code == 400


# -- who


def test_another_project_knows_nothing_of_a_task(api, api_as, five):
    task = create(api).json()["id"]
    run(task)
    other = Project.objects.create(project_id="other")
    RegisteredModel.objects.create(model_id="theirs", project=other)
    stranger = api_as(Role.ADMINISTRATOR, other)

    own = "/api/v1/models/theirs/export-tasks"
    assert stranger.get(TASKS).status_code == 404
    assert stranger.get(own).json()["results"] == []
    for path in (f"/{task}", f"/{task}/archive"):
        assert stranger.get(f"{TASKS}{path}").status_code == 404
        # Their own model does not lead to it either.
        assert stranger.get(f"{own}{path}").status_code == 404


def test_an_archive_is_served_in_ranges(api, five):
    task = create(api).json()["id"]
    run(task)
    whole = blobs.get(ExportTask.objects.get().archive_key)

    part = api.get(f"{TASKS}/{task}/archive", HTTP_RANGE="bytes=10-19")

    assert part.status_code == 206
    assert b"".join(part.streaming_content) == whole[10:20]


def test_there_is_no_archive_before_it_is_complete(api, five):
    task = create(api).json()["id"]

    assert api.get(f"{TASKS}/{task}/archive").status_code == 404
