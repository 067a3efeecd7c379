"""An erasure reaches the files of schedules: after it no row of what was erased is in them."""

from __future__ import annotations

import io
from functools import partial
from uuid import uuid4

import pyarrow
import pyarrow.parquet
import pytest
from django.contrib.auth.models import User
from django.core.files.storage import default_storage, storages

from exports.models import ExportSchedule
from exports.schedules import lifecycle, runner
from exports.schedules.erasing import NAMED_VALUE
from exports.schedules.models import ExportedFile
from exports.tests.schedules import DAY
from exports.tests.test_export_erasing import PATIENT, erased
from inferences.erasure.chosen_records import Chosen
from inferences.erasure.running import erase, open_erasure
from inferences.models.metadata_values import MetadataValue
from inferences.store import removal
from inferences.store.metadata_edits import put_value
from istore import blobs, failpoints
from istore.blobs.s3_storage import S3Storage
from istore.checks.verification import Scope, report
from istore.db import clock
from istore.models import AuditEntry
from istore.tasks.tracking import TaskState
from tests import s3_server

pytestmark = pytest.mark.django_db(transaction=True)
NEXT_DAY = DAY.replace(day=DAY.day + 1)


@pytest.fixture(autouse=True)
def disarmed():
    yield
    failpoints.arm("")


@pytest.fixture
def two(make_inference):
    """Hers and his of one day, and one of hers alone in the file of the next."""
    labels = [("ship", 0.9), ("tug", 0.2)]
    about = {"created_at": DAY, "detections": labels}
    make_inference({"patient": "Jane Doe"}, inference_id="hers", **about)
    make_inference({"patient": "John Doe"}, inference_id="his", **about)
    late = {"created_at": NEXT_DAY, "detections": labels}
    make_inference({"patient": "Jane Doe"}, inference_id="hers too", **late)


@pytest.fixture
def exported(model, two):
    """``exported(shape="exploded")``: a schedule that has run."""

    def make(name: str = "nightly", **values) -> ExportSchedule:
        values = {"prefix": name} | values
        schedule = lifecycle.create(
            "test", model, from_beginning=True, name=name, **values
        )
        run_again(schedule)
        return schedule

    return make


def run_again(schedule: ExportSchedule) -> None:
    run = lifecycle.start("test", schedule)
    runner.carry_out(run)
    run.refresh_from_db()
    assert run.state == TaskState.COMPLETE, run.reason


def patients(keys=None, storage=None) -> list[str]:
    """The patients of all rows below ``scheduled/``, or of these files of a storage."""
    found = []
    for key in keys or [each.key for each in blobs.walk("scheduled/")]:
        with (storage or default_storage).open(key) as file:
            table = pyarrow.parquet.read_table(io.BytesIO(file.read()))
        found += table[":tag.str:meta.patient"].to_pylist()
    return sorted(found)


@pytest.mark.parametrize("shape", ["flat", "exploded"])
def test_her_rows_go_and_the_files_stay_true(project, exported, shape):
    schedule = exported(shape=shape)
    rows = len(patients())

    task = erased(project)

    his = 1 if shape == "flat" else 2
    assert patients() == ["John Doe"] * his
    schedule.refresh_from_db()
    assert (schedule.row_count, schedule.file_count) == (his, 1)
    file = ExportedFile.objects.get()  # that of the next day had no other row
    assert (file.row_count, file.size) == (his, blobs.size(file.key))
    assert not list(report(Scope(at=clock.now(), deep=True)).findings())
    assert task.report["traces"]["files of schedules"] == rows - his
    assert task.report["left"]["files of schedules"] == 0


def test_chosen_records_go_from_the_files_too(project, model, exported):
    exported()
    hers = model.inferences.get(inference_id="hers")

    erase(open_erasure("test", project, Chosen(model.model_id, (hers.id,)), why="x"))

    assert patients() == ["Jane Doe", "John Doe"]


def test_what_only_the_files_still_have_is_erased(project, model, exported):
    """One that was removed, and one whose value was changed."""
    exported()
    removal.remove_one("test", model, "hers")
    other = MetadataValue("patient", "string", "nobody")
    put_value("test", model, "hers too", other, replace=True)

    erased(project)

    assert patients() == ["John Doe"]


def test_files_of_a_deleted_schedule_are_reached(project, exported):
    lifecycle.remove("test", exported())

    erased(project)

    assert patients() == ["John Doe"]


def test_files_of_another_project_stay(project, model, exported, make_inference):
    exported()
    before = patients()
    other = type(project).objects.create(project_id="hospital")

    erased(other)

    assert patients() == before


def test_a_run_in_the_making_starts_over_without_her(project, model, two):
    schedule = lifecycle.create("test", model, from_beginning=True, name="n")
    run = lifecycle.start("test", schedule)
    failpoints.arm("schedules.file_stored=raise")
    runner.carry_out(run)
    failpoints.arm("")
    assert "Jane Doe" in patients()

    erased(project)
    assert "Jane Doe" not in patients()
    run.refresh_from_db()
    runner.carry_out(run)

    run.refresh_from_db()
    assert run.state == TaskState.COMPLETE, run.reason
    assert patients() == ["John Doe"]


@pytest.mark.parametrize(
    "step", ["schedules.erasure_noted", "schedules.erasure_stored"]
)
def test_an_erasure_that_breaks_off_ends_when_it_is_resumed(project, exported, step):
    schedule = exported()
    failpoints.arm(f"{step}=raise")
    task = open_erasure("test", project, PATIENT, why="asked", dry_run=False)
    erase(task)
    assert task.is_active
    failpoints.arm("")

    erase(task)

    assert task.state == TaskState.COMPLETE, task.reason
    assert patients() == ["John Doe"]
    schedule.refresh_from_db()
    assert (schedule.row_count, schedule.file_count) == (1, 1)
    assert not list(report(Scope(at=clock.now(), deep=True)).findings())


def test_a_filter_that_names_her_is_forgotten_and_the_schedule_is_off(
    project, exported
):
    asked = {"query": 'meta.patient="Jane Doe"'}
    schedule = exported("of-her", selection=asked)
    other = exported("of-him", selection={"query": 'meta.patient="John Doe"'})

    erased(project)

    schedule.refresh_from_db()
    assert "Jane" not in str(schedule.selection)
    assert not schedule.enabled
    assert "erased" in schedule.last_error
    other.refresh_from_db()
    assert other.enabled
    assert "Doe" not in str(list(AuditEntry.objects.values_list("details")))


@pytest.fixture
def versioned(s3_endpoint, settings):
    """The destination ``lake``: a bucket of a real endpoint that keeps versions."""
    bucket = s3_server.client(s3_endpoint)
    name = f"lake-{uuid4()}"
    bucket.create_bucket(Bucket=name)
    bucket.put_bucket_versioning(
        Bucket=name, VersioningConfiguration={"Status": "Enabled"}
    )
    storage = s3_server.storage_at(s3_endpoint, bucket=name)
    settings.STORAGES = {**settings.STORAGES, "export:lake": storage}
    settings.ISTORE_EXPORT_DESTINATIONS = {"lake": "base"}
    return partial(bucket.list_object_versions, Bucket=name)


def test_a_bucket_keeps_no_version_with_her(project, exported, versioned):
    exported(destination="lake")
    keys = [each["Key"] for each in versioned()["Versions"]]
    assert len(patients(keys, storages["export:lake"])) == 3

    erased(project)

    found = versioned()
    assert len(found["Versions"]) == 1
    assert not found.get("DeleteMarkers")
    left = [found["Versions"][0]["Key"]]
    assert patients(left, storages["export:lake"]) == ["John Doe"]


def test_versions_that_an_attempt_left_go_with_the_next(
    project, exported, versioned, monkeypatch
):
    """Credentials that may not delete versions: the files are new, and the old ones still there."""
    exported(destination="lake")
    monkeypatch.setattr(S3Storage, "_delete_these", lambda storage, versions: None)
    task = open_erasure("test", project, PATIENT, why="asked", dry_run=False)
    erase(task)
    assert "old versions" in task.reason
    monkeypatch.undo()

    erased(project)

    found = versioned()
    assert len(found["Versions"]) == 1
    assert not found.get("DeleteMarkers")


def test_a_bucket_that_is_no_destination_any_more_is_told(
    project, exported, versioned, settings
):
    exported(destination="lake")
    settings.ISTORE_EXPORT_DESTINATIONS = {}
    task = open_erasure("test", project, PATIENT, why="asked", dry_run=False)

    erase(task)

    assert "lake is no destination" in task.reason


def test_a_schedule_without_its_filter_is_shown_and_can_get_another(
    project, model, exported, client
):
    schedule = exported(selection={"query": 'meta.patient="Jane Doe"'})
    erased(project)
    client.force_login(User.objects.create_superuser("root"))

    listed = client.get("/models/yolo-harbour/exports/schedules").content.decode()
    page = f"/models/yolo-harbour/exports/schedules/{schedule.pk}"
    shown = client.get(page).content.decode()
    lifecycle.change("test", schedule, selection={"query": "label:ship"}, enabled=True)
    run_again(schedule)

    assert "a filter that was forgotten in an erasure" in listed
    assert NAMED_VALUE in shown


def test_a_table_of_its_readers_own_beside_the_files_stays(project, model, exported):
    exported()
    folder = ExportedFile.objects.order_by("key").first().key.rpartition("/")[0]
    own = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"a": [1]}), own)
    blobs.put(f"{folder}/own.parquet", own.getvalue())

    erased(project)

    assert blobs.get(f"{folder}/own.parquet") == own.getvalue()


def test_a_file_that_its_reader_took_away_is_no_fault(project, exported):
    exported()
    blobs.delete([each.key for each in blobs.walk("scheduled/")])

    assert erased(project).report["left"]["files of schedules"] == 0


def test_what_is_no_table_any_more_fails_the_erasure_by_its_name(project, exported):
    exported()
    key = ExportedFile.objects.order_by("key").first().key
    blobs.put(key, b"words of a reader")
    task = open_erasure("test", project, PATIENT, why="asked", dry_run=False)

    erase(task)

    assert key in task.reason
