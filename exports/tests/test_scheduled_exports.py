"""Scheduled exports: every row once, whatever breaks; read back as a tree by DuckDB."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from datetime import timedelta
from pathlib import Path

import boto3
import duckdb
import pyarrow.dataset
import pyarrow.parquet
import pytest
from moto import mock_aws

from exports.models import ExportedFile, ExportSchedule, ScheduledExport
from exports.schedules import lifecycle, runner, verifying
from exports.schedules.destinations import check_prefix
from exports.tests.schedules import DAY, STEPS
from inferences.models import RegisteredModel
from inferences.store import removal
from inferences.store.arrival_order import EARLIEST
from istore import blobs, failpoints
from istore.backup.making import make_backup
from istore.checks.verification import Scope
from istore.db import clock
from istore.errors import Conflict
from istore.models import AuditEntry
from istore.tasks.tracking import TaskState
from tests.stored_objects import StoredObjects

pytestmark = pytest.mark.django_db(transaction=True)
HOUR = timedelta(hours=1)
TREE = "scheduled/"


@pytest.fixture(autouse=True)
def disarmed():
    yield
    failpoints.arm("")


@pytest.fixture
def schedule(model):
    return lifecycle.create("test", model, from_beginning=True, name="lake")


def run_once(schedule: ExportSchedule) -> ScheduledExport:
    """A run, carried out as often as it breaks off."""
    schedule.refresh_from_db()
    run = lifecycle.start("test", schedule)
    return finish(run)


def finish(run: ScheduledExport) -> ScheduledExport:
    for _ in range(20):
        run = ScheduledExport.objects.select_related("schedule__model__project").get(
            pk=run.pk
        )
        if not run.is_active:
            break
        runner.carry_out(run)
        run.refresh_from_db()
    return run


def tree(stored_objects: StoredObjects) -> Path:
    return stored_objects.folder(TREE)


def rows_of(folder: Path) -> Counter[str]:
    """The ids of all rows of a tree, as DuckDB finds them."""
    if not any(folder.rglob("*.parquet")):
        return Counter()
    found = duckdb.sql(
        f"""SELECT ":id.id:" FROM read_parquet('{folder}/**/*.parquet',
            hive_partitioning=true, union_by_name=true)"""
    )
    return Counter(name for (name,) in found.fetchall())


def names(*numbers: int) -> Counter[str]:
    return Counter(f"inference-{n}" for n in numbers)


def test_what_arrived_is_a_hive_tree_by_model_and_date(
    schedule, make_inference, stored_objects
):
    make_inference({"camera": "north"}, created_at=DAY)
    make_inference({"camera": "south"}, created_at=DAY + 23 * HOUR)
    make_inference(created_at=DAY + 24 * HOUR)

    run = run_once(schedule)

    assert (run.state, run.row_count, run.file_count) == ("complete", 3, 2)
    found = duckdb.sql(
        f"""SELECT model, date, count(*) FROM read_parquet(
            '{tree(stored_objects)}/**/*.parquet', hive_partitioning=true,
            union_by_name=true) GROUP BY ALL ORDER BY date"""
    ).fetchall()
    assert [(model, str(date), count) for model, date, count in found] == [
        ("yolo-harbour", "2026-03-01", 2),
        ("yolo-harbour", "2026-03-02", 1),
    ]


def test_the_next_run_takes_what_came_since(schedule, make_inference, stored_objects):
    make_inference(created_at=DAY)
    run_once(schedule)
    make_inference(created_at=DAY)

    run = run_once(schedule)

    assert run.row_count == 1
    assert rows_of(tree(stored_objects)) == names(1, 2)


def test_a_late_row_is_exported_once_in_the_folder_of_its_day(
    schedule, make_inference, stored_objects
):
    make_inference(created_at=DAY)
    run_once(schedule)
    make_inference(created_at=DAY - 48 * HOUR)
    run_once(schedule)
    run_once(schedule)

    assert rows_of(tree(stored_objects)) == names(1, 2)
    folder = tree(stored_objects) / "project=harbour" / "model=yolo-harbour"
    assert rows_of(folder / "date=2026-02-27") == names(2)


def test_only_what_matches_the_filter_goes_out(model, make_inference, stored_objects):
    schedule = lifecycle.create(
        "test",
        model,
        from_beginning=True,
        name="night",
        selection={"query": 'meta.camera="north"'},
    )
    make_inference({"camera": "north"})
    make_inference({"camera": "south"})

    run = run_once(schedule)

    assert run.row_count == 1
    assert (run.arrived_count, run.passed_count) == (2, 2)
    assert rows_of(tree(stored_objects)) == names(1)


def test_a_schedule_begins_with_what_comes_after_it(
    model, make_inference, stored_objects
):
    make_inference()
    schedule = lifecycle.create("test", model, from_beginning=False, name="new")
    make_inference()

    run_once(schedule)

    assert rows_of(tree(stored_objects)) == names(2)


def test_removed_inferences_are_not_exported(
    model, schedule, make_inference, stored_objects
):
    for _ in range(3):
        make_inference()
    removal.remove_one("test", model, "inference-2")
    model.inferences.filter(inference_id="inference-3").update(deleted=True)

    run_once(schedule)

    assert rows_of(tree(stored_objects)) == names(1)


def test_without_news_no_file_is_written(schedule, stored_objects):
    run = run_once(schedule)

    assert (run.state, run.file_count) == (TaskState.COMPLETE, 0)
    assert not stored_objects.keys(TREE)


def test_findings_are_rows_when_exploded(model, make_inference, stored_objects):
    schedule = lifecycle.create(
        "test", model, from_beginning=True, name="boxes", shape="exploded"
    )
    make_inference(detections=[("ship", 0.5), ("tug", 0.25)])
    make_inference(detections=[])

    run = run_once(schedule)

    assert (run.row_count, run.inference_count) == (2, 1)
    assert run.left_out == {"nothing-found": 1}
    assert rows_of(tree(stored_objects)) == Counter(["inference-1:0", "inference-1:1"])


# -- each row once, whatever breaks


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("nth", [1, 2])
def test_a_worker_that_breaks_off_anywhere_leaves_every_row_once(
    step, nth, schedule, make_inference, stored_objects, settings
):
    settings.ISTORE_SCHEDULED_EXPORT_ROWS = 4
    for n in range(10):
        make_inference(created_at=DAY + (n % 3) * 24 * HOUR)
    failpoints.arm(f"{step}:{nth}=raise")

    run = lifecycle.start("test", schedule)
    for _ in range(3):
        run = ScheduledExport.objects.get(pk=run.pk)
        try:
            runner.carry_out(run)
        except failpoints.Failure:
            # Broke off between claim and work: the lease has to run out.
            ScheduledExport.objects.filter(pk=run.pk).update(
                lease_until=clock.now() - HOUR
            )
        met = rows_of(tree(stored_objects))
        assert max(met.values(), default=1) == 1  # readers at any moment
    run = finish(run)

    assert run.state == TaskState.COMPLETE, run.reason
    assert rows_of(tree(stored_objects)) == names(*range(1, 11))
    schedule.refresh_from_db()
    assert schedule.row_count == run.row_count == 10
    assert schedule.last_error == ""


def test_a_chunk_is_written_again_with_the_bounds_it_had(
    schedule, make_inference, stored_objects, settings
):
    """What arrives between the attempts is not in the chunk, but in the next."""
    settings.ISTORE_SCHEDULED_EXPORT_ROWS = 100
    make_inference(created_at=DAY)
    failpoints.arm("schedules.file_stored:1=raise")
    run = lifecycle.start("test", schedule)
    runner.carry_out(run)
    before = _files(stored_objects)
    make_inference(created_at=DAY)

    finish(run)
    run_once(schedule)

    assert set(before) < set(_files(stored_objects))
    assert rows_of(tree(stored_objects)) == names(1, 2)


def test_a_file_of_a_broken_attempt_goes_when_its_rows_are_removed(
    model, schedule, make_inference, stored_objects
):
    make_inference(created_at=DAY)
    make_inference(created_at=DAY + 48 * HOUR)
    failpoints.arm("schedules.leftovers_removed:1=raise")
    run = lifecycle.start("test", schedule)
    runner.carry_out(run)
    assert len(_files(stored_objects)) == 2
    removal.remove_one("test", model, "inference-1")

    finish(run)

    assert rows_of(tree(stored_objects)) == names(2)
    assert len(_files(stored_objects)) == 1
    assert ExportedFile.objects.filter(committed_at=None).count() == 0


def test_a_failed_run_leaves_the_chunk_to_the_next_one(
    schedule, make_inference, stored_objects
):
    make_inference(created_at=DAY)
    failpoints.arm("schedules.leftovers_removed=raise")
    run = lifecycle.start("test", schedule)
    run = finish(run)
    assert run.state == TaskState.FAILED
    schedule.refresh_from_db()
    assert "Failure" in schedule.last_error
    assert schedule.last_error_at
    failpoints.arm("")
    make_inference(created_at=DAY)

    assert run_once(schedule).state == TaskState.COMPLETE

    assert rows_of(tree(stored_objects)) == names(1, 2)
    schedule.refresh_from_db()
    assert (schedule.last_error, schedule.row_count) == ("", 2)


def test_files_are_listed_with_their_hashes(schedule, make_inference, stored_objects):
    make_inference(created_at=DAY)
    run_once(schedule)

    (file,) = schedule.exported_files.all()
    content = stored_objects.read(file.key)
    assert hashlib.sha256(content).hexdigest() == file.sha256
    assert (file.size, file.row_count) == (len(content), 1)
    assert file.committed_at


def test_a_row_group_never_holds_more_than_a_batch(
    schedule, make_inference, stored_objects, settings
):
    settings.ISTORE_EXPORT_ROW_GROUP = 2
    for _ in range(5):
        make_inference(created_at=DAY)

    run_once(schedule)

    (key,) = _files(stored_objects)
    content = io.BytesIO(stored_objects.read(key))
    assert pyarrow.parquet.ParquetFile(content).num_row_groups == 3


def test_a_place_with_files_of_others_is_refused(
    schedule, make_inference, stored_objects
):
    make_inference()
    folder = f"{TREE}project=harbour/model=yolo-harbour/date=2026-03-01"
    stored_objects.write(f"{folder}/part-old.parquet", b"old")

    run = run_once(schedule)

    assert run.state == TaskState.FAILED
    assert "not its own" in run.reason


def test_a_model_id_of_any_kind_is_a_folder(project, make_inference, stored_objects):
    other = RegisteredModel.objects.create(
        model_id="a/b=c %⚓", project=project, task_type="Object Detection"
    )
    schedule = lifecycle.create("test", other, from_beginning=True, name="lake")
    make_inference(to=other, created_at=DAY)

    run_once(schedule)

    found = pyarrow.dataset.dataset(tree(stored_objects), partitioning="hive")
    assert set(found.to_table()["model"].to_pylist()) == {"a/b=c %⚓"}


def _files(stored_objects: StoredObjects) -> list[str]:
    return [key for key in stored_objects.keys(TREE) if key.endswith(".parquet")]


# -- when it runs


def test_a_schedule_is_due_at_once_and_then_after_its_interval(schedule):
    at = clock.now()

    assert lifecycle.start_due(at) == 1
    assert lifecycle.start_due(at + HOUR) == 0
    ScheduledExport.objects.update(state=TaskState.COMPLETE)
    assert lifecycle.start_due(at + 23 * HOUR) == 0
    assert lifecycle.start_due(at + 240 * HOUR) == 1
    assert schedule.scheduled_exports.count() == 2


def test_a_schedule_that_is_off_is_never_due(schedule):
    lifecycle.change("test", schedule, enabled=False)

    assert lifecycle.start_due(clock.now()) == 0


def test_two_beats_open_one_run(schedule, monkeypatch):
    at = clock.now()
    seen = list(ExportSchedule.objects.due(at))
    lifecycle.start_due(at)
    ScheduledExport.objects.update(state=TaskState.COMPLETE)
    monkeypatch.setattr(
        ExportSchedule.objects.__class__, "due", lambda self, at: seen, raising=False
    )

    assert lifecycle.start_due(at) == 0
    assert schedule.scheduled_exports.count() == 1


def test_while_a_run_is_on_no_other_begins(schedule):
    lifecycle.start("test", schedule)
    schedule.refresh_from_db()

    with pytest.raises(Conflict):
        lifecycle.start("test", schedule)
    assert lifecycle.start_due(clock.now() + 48 * HOUR) == 0


def test_lag_is_told_from_the_moment_that_is_exported(schedule, make_inference):
    assert lifecycle.lag(schedule, clock.now()) is None
    make_inference()
    assert lifecycle.waiting(schedule) == 1

    run_once(schedule)

    schedule.refresh_from_db()
    assert lifecycle.lag(schedule, clock.now()) < 60
    assert lifecycle.waiting(schedule) == 0


def test_every_act_is_in_the_audit_log(schedule):
    lifecycle.change("test", schedule, interval_hours=1)
    lifecycle.start("test", schedule)
    lifecycle.remove("test", schedule)

    acts = set(AuditEntry.objects.values_list("action", flat=True))
    assert acts == {
        f"export_schedule.{act}" for act in ("create", "change", "run", "delete")
    }


def test_schedules_of_one_model_have_their_places_alone(model, schedule):
    with pytest.raises(Conflict):
        lifecycle.create("test", model, from_beginning=True, name="b", prefix="below")
    with pytest.raises(Conflict):
        lifecycle.create("test", model, from_beginning=True, name="b")


@pytest.mark.parametrize(
    "prefix", ["/a", "a/", "..", "a//b", "model=x", "a b", "a" * 301]
)
def test_a_prefix_is_a_plain_path(prefix):
    with pytest.raises(ValueError, match=r"characters|Folders"):
        check_prefix(prefix)


def test_a_removed_schedule_ends_its_run(schedule, make_inference, stored_objects):
    make_inference()
    run = lifecycle.start("test", schedule)
    lifecycle.remove("test", schedule)

    runner.carry_out(run) if ScheduledExport.objects.filter(pk=run.pk) else None

    assert not _files(stored_objects)


# -- buckets


@pytest.fixture
def lake(settings):
    """A bucket that the installation calls "lake"."""
    options = {
        "bucket_name": "lake-bucket",
        "access_key": "test",
        "secret_key": "test",
        "region_name": "eu-west-1",
        "file_overwrite": True,
        "default_acl": None,
        "signature_version": "s3v4",
    }
    storage = {"BACKEND": "istore.blobs.s3_storage.S3Storage", "OPTIONS": options}
    with mock_aws():
        client = boto3.client(
            "s3",
            region_name="eu-west-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        client.create_bucket(
            Bucket="lake-bucket",
            CreateBucketConfiguration={"LocationConstraint": "eu-west-1"},
        )
        settings.STORAGES = {**settings.STORAGES, "export:lake": storage}
        settings.ISTORE_EXPORT_DESTINATIONS = {"lake": "base"}
        yield client


def test_a_bucket_gets_the_same_tree(model, lake, make_inference):
    schedule = lifecycle.create(
        "test", model, from_beginning=True, name="s3", destination="lake", prefix="in/f"
    )
    make_inference(created_at=DAY)
    make_inference(created_at=DAY + 24 * HOUR)
    failpoints.arm("schedules.file_stored:2=raise")

    run_once(schedule)

    found = lake.list_objects_v2(Bucket="lake-bucket")["Contents"]
    keys = [each["Key"] for each in found]
    assert [key.rpartition("/")[0] for key in keys] == [
        "base/in/f/project=harbour/model=yolo-harbour/date=2026-03-01",
        "base/in/f/project=harbour/model=yolo-harbour/date=2026-03-02",
    ]
    body = lake.get_object(Bucket="lake-bucket", Key=keys[0])["Body"].read()
    table = pyarrow.parquet.read_table(io.BytesIO(body))
    assert table[":id.id:"].to_pylist() == ["inference-1"]


def test_a_bucket_that_does_not_answer_is_told_and_tried_again(
    model, lake, make_inference
):
    schedule = lifecycle.create(
        "test", model, from_beginning=True, name="s3", destination="lake"
    )
    make_inference(created_at=DAY)
    lake.delete_bucket(Bucket="lake-bucket")

    run = run_once(schedule)

    assert run.state == TaskState.FAILED
    schedule.refresh_from_db()
    assert "StoreUnavailable" in schedule.last_error
    assert schedule.position == EARLIEST


def test_a_destination_that_is_gone_fails_with_its_name(model, settings, lake):
    schedule = lifecycle.create(
        "test", model, from_beginning=True, name="s3", destination="lake"
    )
    settings.ISTORE_EXPORT_DESTINATIONS = {}

    run = run_once(schedule)

    assert (run.state, run.reason) == (
        TaskState.FAILED,
        "lake is no destination of this installation any more.",
    )


def test_no_row_holds_a_secret(model, lake):
    lifecycle.create("test", model, from_beginning=True, name="s3", destination="lake")

    (row,) = ExportSchedule.objects.values()
    assert "test" not in {
        str(value) for key, value in row.items() if key != "created_by"
    }


# -- verify and the admin site


def findings(**more) -> list[str]:
    scope = Scope(at=clock.now() + 48 * HOUR, **more)
    checks = (verifying.files, verifying.partial_files)
    return [f"{f.kind}: {f.where}" for check in checks for f in check(scope)]


def test_verify_is_clean_and_finds_what_was_changed(
    schedule, make_inference, stored_objects
):
    make_inference(created_at=DAY)
    run_once(schedule)
    assert findings(deep=True) == []
    (key,) = _files(stored_objects)
    content = stored_objects.read(key)

    stored_objects.write(key, content[:-1] + b"?")
    assert findings(deep=True) == [f"exported-file: {key}"]
    assert findings() == []
    stored_objects.write(key, content[:-1])
    assert findings() == [f"exported-file: {key}"]


def test_readers_may_take_files_away(schedule, make_inference, stored_objects):
    make_inference(created_at=DAY)
    run_once(schedule)
    for key in _files(stored_objects):
        stored_objects.remove(key)

    assert findings(deep=True) == []


def test_partial_files_are_collected_after_a_while(stored_objects):
    folder = f"{TREE}project=harbour/model=x"
    stored_objects.write(f"{folder}/.part-1.parquet.ab.partial", b"x")

    assert len(findings(repair=True)) == 1
    assert not stored_objects.keys(TREE)


def test_the_admin_site_shows_schedules_runs_and_files(
    schedule, make_inference, admin_client
):
    make_inference()
    run_once(schedule)

    for name in ("exportschedule", "scheduledexport", "exportedfile"):
        page = admin_client.get(f"/admin/exports/{name}/")
        assert page.status_code == 200
        assert "yolo-harbour" in page.content.decode()


def test_a_backup_has_the_files_in_the_default_store(
    model, make_inference, settings, tmp_path
):
    """Else a restored schedule would go on behind rows that its tree does not have."""
    settings.ISTORE_RECONCILE_HOURS = -24  # nothing is young: files must be named
    schedule = lifecycle.create("test", model, from_beginning=True, name="nightly")
    make_inference(created_at=DAY)
    make_inference(created_at=DAY + 24 * HOUR)
    run_once(schedule)
    target = tmp_path / "backup"

    make_backup(str(target), keep=2)

    written = [blobs.get(file.key) for file in schedule.exported_files.all()]
    assert len(written) == 2
    kept = [each.read_bytes() for each in (target / "objects").glob("*/*")]
    assert all(each in kept for each in written)
