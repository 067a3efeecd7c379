"""The API of scheduled exports: what is taken, what is refused, what is told."""

from __future__ import annotations

import pytest

from exports.models import ExportSchedule, ScheduledExport
from exports.schedules import runner
from istore.models import Role

pytestmark = pytest.mark.django_db(transaction=True)
SCHEDULES = "/api/v1/models/yolo-harbour/export-schedules"


@pytest.fixture
def lake(settings):
    settings.ISTORE_EXPORT_DESTINATIONS = {"lake": ""}


@pytest.fixture
def created(api, model):
    answer = api.post(SCHEDULES, {"name": "nightly", "from_beginning": True})
    assert answer.status_code == 201, answer.json()
    return answer.json()


def carry_out() -> None:
    for run in ScheduledExport.objects.all():
        runner.carry_out(run)


def test_a_schedule_says_what_it_does_and_how_far_it_is(created, api, make_inference):
    make_inference()

    told = api.get(f"{SCHEDULES}/{created['id']}").json()

    assert told["name"] == "nightly"
    assert told["interval_hours"] == 24
    assert told["lag_seconds"] is None
    assert (told["waiting_count"], told["waiting_is_exact"]) == (1, True)


def test_a_run_by_hand_is_told_with_its_files(created, api, make_inference, open_link):
    make_inference()
    started = api.post(f"{SCHEDULES}/{created['id']}/run")
    assert started.status_code == 201
    carry_out()

    (run,) = api.get(f"{SCHEDULES}/{created['id']}/runs").json()["results"]
    (file,) = api.get(f"{SCHEDULES}/{created['id']}/files").json()["results"]
    told = api.get(f"{SCHEDULES}/{created['id']}").json()

    assert (run["state"], run["row_count"]) == ("complete", 1)
    assert file["row_count"] == 1
    assert file["key"].startswith(
        "scheduled/project=harbour/model=yolo-harbour/date=2025-06-01/part-"
    )
    assert len(open_link(file["presigned_url"])[1]) == file["size"]
    assert told["lag_seconds"] < 60
    assert (told["row_count"], told["waiting_count"]) == (1, 0)


def test_a_second_run_waits_for_the_first(created, api):
    api.post(f"{SCHEDULES}/{created['id']}/run")

    answer = api.post(f"{SCHEDULES}/{created['id']}/run")

    assert (answer.status_code, answer.json()["code"]) == (409, "task-already-active")


def test_files_come_in_pages_of_a_hundred(created, api):
    schedule = ExportSchedule.objects.get()
    for n in range(101):
        schedule.exported_files.create(
            key=f"k{n}",
            date="2026-01-01",
            arrived_after=0,
            arrived_through=1,
            committed_at="2026-01-01T00:00:00Z",
        )
    address = f"{SCHEDULES}/{created['id']}/files"
    first = api.get(address).json()
    second = api.get(address, {"cursor": first["next"]}).json()

    assert [f["key"] for f in first["results"]] == [f"k{n}" for n in range(100, 0, -1)]
    assert [f["key"] for f in second["results"]] == ["k0"]
    assert second["next"] is None


def test_what_may_change_changes_and_the_rest_is_refused(created, api):
    address = f"{SCHEDULES}/{created['id']}"

    changed = api.patch(
        address,
        {
            "interval_hours": 1,
            "enabled": False,
            "selection": {"query": "label:ship"},
        },
    )
    refused = api.patch(address, {"prefix": "elsewhere"})

    assert changed.json()["interval_hours"] == 1
    assert changed.json()["selection"] == {"query": "label:ship"}
    assert (refused.status_code, refused.json()["code"]) == (400, "unknown-field")


def test_a_deleted_schedule_is_gone(created, api):
    address = f"{SCHEDULES}/{created['id']}"

    assert api.delete(address).status_code == 204
    assert api.get(address).status_code == 404
    assert api.delete(address).status_code == 404


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/name"),
        ({"name": " "}, "/name"),
        ({"name": "a\nb"}, "/name"),
        ({"name": "a", "interval_hours": 0}, "/interval_hours"),
        ({"name": "a", "interval_hours": 99999}, "/interval_hours"),
        ({"name": "a", "shape": "round"}, "/shape"),
        ({"name": "a", "destination": "sea"}, "/destination"),
        ({"name": "a", "prefix": "../up"}, "/prefix"),
        ({"name": "a", "prefix": "model=x"}, "/prefix"),
        ({"name": "a", "selection": {"query": "label:"}}, "/selection/query"),
        ({"name": "a", "selection": {"nothing": 1}}, "/selection/nothing"),
        ({"name": "a", "selection": []}, "/selection"),
        ({"name": "a", "position": 5}, "/position"),
    ],
)
def test_what_is_wrong_is_named_and_makes_nothing(api, model, body, pointer):
    answer = api.post(SCHEDULES, body)

    assert answer.status_code == 400, answer.json()
    assert pointer in {error["pointer"] for error in answer.json()["errors"]}
    assert not ExportSchedule.objects.exists()


def test_two_in_one_place_are_a_conflict(created, api):
    answer = api.post(SCHEDULES, {"name": "other"})

    assert (answer.status_code, answer.json()["code"]) == (409, "export-place-taken")


def test_destinations_are_told_by_name_alone(api, lake):
    found = api.get("/api/v1/export-destinations").json()["results"]

    assert found == [
        {"name": "", "title": "the default store"},
        {"name": "lake", "title": "lake"},
    ]


def test_a_destination_that_is_gone_still_lists_its_files(api, model, lake, settings):
    body = {"name": "s3", "destination": "lake", "prefix": "a"}
    made = api.post(SCHEDULES, body).json()
    ExportSchedule.objects.get().exported_files.create(
        key="k",
        date="2026-01-01",
        arrived_after=0,
        arrived_through=1,
        committed_at="2026-01-01T00:00:00Z",
    )
    settings.ISTORE_EXPORT_DESTINATIONS = {}

    (file,) = api.get(f"{SCHEDULES}/{made['id']}/files").json()["results"]

    assert file["presigned_url"] is None


@pytest.mark.parametrize("cursor", ["x", "-1", "9" * 30])
def test_a_foreign_cursor_is_refused(created, api, cursor):
    for name in ("runs", "files"):
        answer = api.get(f"{SCHEDULES}/{created['id']}/{name}", {"cursor": cursor})
        assert answer.status_code == 400


def test_a_viewer_reads_and_changes_nothing(created, api_as):
    viewer = api_as(Role.VIEWER)
    address = f"{SCHEDULES}/{created['id']}"

    assert viewer.get(address).status_code == 200
    assert viewer.post(f"{address}/run").status_code == 403
    assert viewer.patch(address, {"enabled": False}).status_code == 403
    assert viewer.delete(address).status_code == 403


def test_a_schedule_of_the_lake_has_a_table_and_no_place(api, model):
    body = {"name": "lake", "format": "iceberg", "keeps_removed": False}
    for name in ("destination", "prefix"):
        refused = api.post(SCHEDULES, body | {name: "x"})
        assert refused.status_code == 400
        assert f"/{name}" in refused.content.decode()
    assert api.post(SCHEDULES, body | {"format": "delta"}).status_code == 400

    made = api.post(SCHEDULES, body).json()
    assert (made["table"], made["keeps_removed"]) == ("harbour.yolo_harbour", False)
    second = api.post(SCHEDULES, body | {"name": "again"}).json()
    assert second["table"] == "harbour.yolo_harbour_again"
    changed = api.patch(f"{SCHEDULES}/{made['id']}", {"keeps_removed": True}).json()
    assert changed["keeps_removed"]
    assert api.delete(f"{SCHEDULES}/{made['id']}").status_code == 204
    tables = api.get("/api/v1/lake/tables").json()["results"]
    assert [each["schedule_id"] for each in tables] == [None, second["id"]]
