"""Archives are whole or not there: steps that fail, workers that die, rows that change."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
import tracemalloc
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from botocore.exceptions import ClientError
from django.conf import settings as django_settings
from django.db import connection
from django.db.models.functions import Now
from PIL import Image

from exports import archive_writer, cleanup, members
from exports.archive_writer import carry_out
from exports.models import ExportPart, ExportTask
from exports.tests.conftest import lines_of, opened, png
from inferences.models import InferencePayload
from inferences.store import removal
from inferences.store.protection import Protection, protect_one
from inferences.store.recording import NewInference, record
from istore import blobs, failpoints
from istore.blobs import sinks
from istore.checks.verification import Scope, report
from istore.db import clock
from istore.tasks import lease_keeper

STEPS = [
    "archiving.claimed",
    "archiving.set_fixed",
    "archiving.batch_written",
    "archiving.members_written",
    "archiving.manifest_written",
    "archiving.closing",
    "archiving.stored",
]
SHIP = {"label": "ship", "score": 0.9, "xmin": 1, "ymin": 2, "xmax": 30, "ymax": 40}


@pytest.fixture
def armed():
    yield failpoints.arm
    failpoints.arm("")


@pytest.fixture
def at_step(monkeypatch):
    """``at_step("archiving.set_fixed", act)``: act once, when the step is reached."""

    def wait_for(name, act):
        waiting = [act]

        def reached(step):
            if step == name and waiting:
                waiting.pop()()

        monkeypatch.setattr(archive_writer, "failpoint", reached)

    return wait_for


def new_task(model, **values) -> ExportTask:
    given = {"format": "chariot", "selection": {}, "created_by": "test"}
    return ExportTask.objects.create(model=model, **given | values)


def lease_runs_out() -> None:
    ExportTask.objects.update(lease_until=Now() - timedelta(minutes=5))


def archives() -> list[str]:
    return [each.key for each in blobs.walk("exports/")]


def is_clean() -> None:
    """``manage.py verify`` finds nothing of exports, however young it may be."""
    scope = Scope(clock.now() + timedelta(days=3))
    run = report(scope)
    run.names = ["archives", "leftovers of exports"]
    assert list(run.findings()) == []
    assert not run.unfinished


# -- what the archive says of itself


def test_the_manifest_names_every_entry_with_its_hash(exported, make_stored):
    for number in range(3):
        make_stored(png(10 + number, 10), [SHIP], inference_id=f"a/{number}")

    task = exported(query="label:ship", exclude_inference_ids=["a/1", "never there"])
    archive = opened(task)
    manifest = json.loads(archive.read("manifest.json"))

    told = {entry["path"]: entry["sha256"] for entry in manifest["files"]}
    assert told == {
        name: hashlib.sha256(archive.read(name)).hexdigest()
        for name in archive.namelist()
        if name != "manifest.json"
    }
    assert archive.namelist()[-2:] == ["annotations.jsonl", "manifest.json"]
    assert manifest["expected_count"] == manifest["written_count"] == 2
    assert manifest["selection"]["query"] == "label:ship"
    assert manifest["versions"]["format"] == 1
    whole = blobs.get(task.archive_key)
    assert hashlib.sha256(whole).hexdigest() == task.archive_sha256
    assert len(whole) == task.archive_size


def test_a_tar_holds_the_same(exported, make_stored, tmp_path):
    make_stored(png(), [SHIP])

    task = exported(container="tar")

    path = tmp_path / "archive.tar"
    path.write_bytes(blobs.get(task.archive_key))
    with tarfile.open(path) as tar:
        names = tar.getnames()
        assert names == ["data/00000001.png", "annotations.jsonl", "manifest.json"]
        assert tar.extractfile(names[0]).read() == png()


def test_an_export_of_nothing_is_an_archive_of_nothing(exported, model):
    task = exported(query="label:ship")

    archive = opened(task)
    assert archive.namelist() == ["annotations.jsonl", "manifest.json"]
    assert json.loads(archive.read("manifest.json"))["expected_count"] == 0


def test_annotations_and_metadata_are_there_when_asked_for(exported, make_stored):
    values = {"camera": "nord/süd", "frame": 3, "gain": 0.5, "pose": {"angle": 10.5}}
    make_stored(png(), [SHIP], metadata=values)
    make_stored(png(), None)

    (bare, _) = lines_of(opened(exported()), "annotations.jsonl")
    both = {"include_inferences_as_annotations": True, "include_custom_metadata": True}
    task = exported(options=both)
    full, unread = lines_of(opened(task), "annotations.jsonl")

    assert bare == {"path": "data/00000001.png", "inference_id": full["inference_id"]}
    assert full["metadata"] == values
    assert "annotations" not in unread
    (warning,) = task.receipt["warnings"]
    assert (warning["code"], warning["count"]) == ("no-annotations", 1)


# -- rows that change meanwhile


def test_an_inference_removed_meanwhile_is_listed_as_deleted(
    make_stored, model, at_step
):
    for name in ("a", "b", "c"):
        make_stored(inference_id=name)
    task = new_task(model)
    at_step("archiving.set_fixed", lambda: removal.remove_one("test", model, "b"))

    carry_out(task)
    manifest = json.loads(opened(task).read("manifest.json"))

    assert (task.expected_count, task.progress_count) == (3, 3)
    assert manifest["skipped"] == [{"inference_id": "b", "reason": "deleted"}]
    assert [line["path"] for line in lines_of(opened(task), "annotations.jsonl")] == [
        "data/00000001.png",
        "data/00000003.png",
    ]


def test_hidden_inferences_are_not_taken_along(exported, make_stored, model):
    make_stored(inference_id="a")
    hidden = make_stored(inference_id="b")
    removal.hide(model, [hidden.id])

    task = exported(include_inference_ids=["b"])

    assert task.expected_count == 1
    assert task.receipt["warnings"][0]["code"] == "unknown-included"


def test_what_comes_after_the_set_is_fixed_is_left_out(make_stored, model, at_step):
    make_stored(inference_id="a")
    task = new_task(model)
    at_step("archiving.set_fixed", lambda: make_stored(inference_id="late"))

    carry_out(task)

    assert len(lines_of(opened(task), "annotations.jsonl")) == 1


def test_protecting_meanwhile_disturbs_nothing(make_stored, model, at_step):
    make_stored(inference_id="a")
    task = new_task(model)
    protect = lambda: protect_one("test", model, "a", Protection(True))  # noqa: E731
    at_step("archiving.set_fixed", protect)

    carry_out(task)

    assert len(lines_of(opened(task), "annotations.jsonl")) == 1


# -- what breaks off


@pytest.mark.parametrize("step", STEPS)
def test_after_a_failure_at_any_step_the_next_attempt_makes_a_whole_archive(
    make_stored, model, armed, step
):
    for number in range(3):
        make_stored(inference_id=f"{number}")
    task = new_task(model)
    armed(f"{step}=raise")
    try:
        carry_out(task)
    except failpoints.Failure:
        assert step == "archiving.claimed"  # before anybody could tell the outcome
    armed("")
    task.refresh_from_db()
    assert task.state == "running"
    assert not task.has_archive

    lease_runs_out()
    cleanup.collect(clock.now())
    assert archives() == []
    again = ExportTask.objects.get()
    carry_out(again)

    assert len(lines_of(opened(again), "annotations.jsonl")) == 3
    assert cleanup.collect(clock.now()) == 0
    assert len(archives()) == 1
    is_clean()


def test_a_worker_that_dies_once_the_task_is_complete_takes_nothing_back(
    make_stored, model, armed
):
    make_stored()
    task = new_task(model)
    armed("archiving.completed=raise")
    carry_out(task)
    armed("")
    again = ExportTask.objects.get()
    assert again.state == "complete"
    lease_runs_out()
    carry_out(again)
    assert len(lines_of(opened(again), "annotations.jsonl")) == 1
    assert cleanup.collect(clock.now()) == 0
    is_clean()


def test_three_attempts_that_come_to_nothing_fail_the_task(make_stored, model, armed):
    make_stored()
    task = new_task(model)
    armed("archiving.members_written=raise")
    for _ in range(3):
        carry_out(ExportTask.objects.get())
        if ExportTask.objects.get().is_active:
            lease_runs_out()
    task.refresh_from_db()
    assert (task.state, task.reason) == ("failed", "Broke off: Failure.")

    armed("")
    assert task.resume()
    carry_out(task)

    opened(task)


def full_disk(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_fails_the_task_and_leaves_nothing(
    make_stored, model, monkeypatch, blob_directory
):
    make_stored()
    task = new_task(model)
    with monkeypatch.context() as patched:
        patched.setattr(sinks.FileSink, "_write", full_disk)
        carry_out(task)

    assert task.state == "failed"
    assert "no room" in task.reason
    assert archives() == []
    task.resume()
    carry_out(task)
    opened(task)
    is_clean()


def test_a_store_that_answers_503_is_tried_again_and_then_fails(
    make_stored, model, monkeypatch
):
    make_stored()
    task = new_task(model)
    answer = {"Error": {"Code": "503"}, "ResponseMetadata": {"HTTPStatusCode": 503}}

    def unavailable(key):
        raise ClientError(answer, "GetObject")

    with monkeypatch.context() as patched:
        patched.setattr(blobs, "open_blob", unavailable)
        for _ in range(3):
            lease_runs_out()
            carry_out(ExportTask.objects.get())

    task.refresh_from_db()
    assert (task.state, task.reason) == ("failed", "Broke off: StoreUnavailable.")
    task.resume()
    carry_out(task)
    opened(task)


def test_a_worker_that_lost_the_task_publishes_nothing(make_stored, model, at_step):
    make_stored()
    task = new_task(model)

    def taken_over():
        lease_runs_out()
        assert ExportTask.objects.get().claim()

    at_step("archiving.manifest_written", taken_over)

    carry_out(task)

    now = ExportTask.objects.get()
    assert (now.state, now.attempt, now.archive_key) == ("running", 2, "")
    cleanup.collect(clock.now())
    assert archives() == []


def test_a_stop_ends_the_work_and_leaves_nothing(
    make_stored, model, at_step, monkeypatch
):
    monkeypatch.setattr(lease_keeper, "RENEW_SECONDS", 0.0)
    make_stored()
    task = new_task(model)
    at_step("archiving.set_fixed", lambda: ExportTask.objects.get().stop())

    carry_out(task)

    assert task.state == "stopped"
    assert archives() == []


def test_a_task_that_somebody_works_on_is_left_alone(make_stored, model):
    make_stored()
    task = new_task(model)
    assert ExportTask.objects.get().claim()

    carry_out(task)

    assert (task.state, task.attempt) == ("running", 1)


def test_more_than_the_limit_fails_and_says_so(make_stored, model, settings):
    settings.ISTORE_EXPORT_MAX = 2
    for _ in range(3):
        make_stored()
    task = new_task(model)

    carry_out(task)

    assert task.state == "failed"
    assert "More than 2 inferences" in task.reason
    assert not ExportPart.objects.exists()


def test_a_set_is_written_in_parts_and_read_in_order(
    make_stored, model, settings, exported
):
    settings.ISTORE_EXPORT_SET_PART = 3
    settings.ISTORE_EXPORT_BATCH = 2
    names = [f"{number}" for number in range(8)]
    for name in names:
        make_stored(inference_id=name)

    task = exported("webdataset")

    assert [len(part.row_ids) for part in task.parts.all()] == [3, 3, 2]
    assert [name for part in task.parts.all() for name in part.inference_ids] == names
    assert task.receipt["written"] == 8


# -- what has had its time


def test_an_archive_expires_and_its_task_says_so(exported, make_stored):
    make_stored()
    task = exported()

    assert cleanup.collect(task.archive_expires_at - timedelta(seconds=1)) == 0
    assert cleanup.collect(task.archive_expires_at) == 1

    task.refresh_from_db()
    assert (task.state, task.archive_key) == ("complete", "")
    assert task.archive_removed_reason == "Expired."
    assert archives() == []
    assert not ExportPart.objects.exists()


def test_an_expiry_that_breaks_off_is_made_good(exported, make_stored, armed):
    make_stored()
    task = exported()
    armed("expiry.archive_removed=raise")
    with pytest.raises(failpoints.Failure):
        cleanup.collect(task.archive_expires_at)
    armed("")

    cleanup.collect(task.archive_expires_at)

    task.refresh_from_db()
    assert not task.has_archive
    is_clean()


def test_the_archives_of_a_model_that_is_gone_are_collected(exported, make_stored):
    make_stored()
    exported()
    ExportTask.objects.all().delete()

    assert cleanup.collect(clock.now()) == 1

    assert archives() == []


def test_verify_names_a_missing_archive_and_repairs_the_task(exported, make_stored):
    make_stored()
    task = exported()
    blobs.delete([task.archive_key])

    run = report(Scope(clock.now(), repair=True))
    run.names = ["archives"]
    (finding,) = run.findings()

    assert (finding.kind, finding.repaired) == ("archive", True)
    task.refresh_from_db()
    assert not task.has_archive
    is_clean()


# -- a worker that is killed, for good


def killed_at(step: str, task: ExportTask, home: Path) -> int:
    """Carry the task out in a process of its own that the step kills."""
    database = connection.settings_dict
    user, password = database["USER"], quote(database["PASSWORD"])
    host, name = quote(str(database["HOST"]), safe=""), database["NAME"]
    program = (
        "import django; django.setup();"
        "from exports.tasks import run_export_task;"
        f"run_export_task('{task.pk}')"
    )
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=django_settings.BASE_DIR,
        env={
            **os.environ,
            "ISTORE_HOME": str(home),  # its blobs are those of the test
            "ISTORE_DATABASE_URL": f"postgresql://{user}:{password}@{host}/{name}",
            "ISTORE_FAILPOINTS": f"{step}=kill",
        },
        timeout=60,
        capture_output=True,
    ).returncode


@pytest.mark.django_db(transaction=True)
def test_a_worker_killed_at_any_step_leaves_a_task_that_is_done_by_the_next(
    model, make_stored, tmp_path, blob_directory
):
    for number in range(3):
        make_stored(inference_id=f"{number}")
    task = new_task(model)

    for step in STEPS:
        assert killed_at(step, task, tmp_path) == -signal.SIGKILL, step
        lease_runs_out()
        ExportTask.objects.update(attempts_without_progress=0)
    left = archives()
    assert len(left) == len(STEPS) - 2  # those killed after the first byte
    task.refresh_from_db()
    carry_out(task)

    assert len(lines_of(opened(task), "annotations.jsonl")) == 3
    assert cleanup.collect(clock.now()) == len(left)
    assert archives() == [task.archive_key]
    is_clean()


# -- memory


def test_memory_does_not_grow_with_the_number_of_members(
    make_stored, model, make_inference, blob_directory
):
    picture = make_stored(png(), [SHIP], inference_id="first")
    payload = InferencePayload.objects.get(id=picture.id)

    def peak(count: int) -> int:
        task = new_task(model, selection={})
        tracemalloc.start()
        try:
            carry_out(task)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
            assert task.receipt["written"] == count

    def more(count: int) -> None:
        record(
            model,
            [
                NewInference(
                    inference_id=f"copy {number}",
                    inference_action=picture.inference_action,
                    data_hash=bytes(picture.data_hash),
                    created_at=clock.now(),
                    data=payload.data,
                    data_storage_key=payload.data_storage_key,
                    data_content_type="image/png",
                    detections=[("ship", 0.9)],
                )
                for number in range(count)
            ],
        )

    more(300)
    peak(301)  # what is loaded once
    small = peak(301)
    more(3000)
    large = peak(3001)

    assert large < small + 2_000_000


# -- what is slow


def test_a_slow_store_loses_neither_the_lease_nor_the_order(
    make_stored, model, monkeypatch
):
    for number in range(24):
        make_stored(png(1 + number, 8), inference_id=f"{number:02}")
    task = new_task(model)
    read, record, renewed = blobs.open_blob, ExportTask.record, []

    reading: set[str] = set()
    side_by_side = []

    def slowly(key):
        reading.add(key)
        side_by_side.append(len(reading))
        time.sleep(0.1)
        reading.discard(key)
        return read(key)

    def renew(self, **values):
        renewed.append(values)
        record(self, **values)

    monkeypatch.setattr(members, "TICK_SECONDS", 0.02)
    monkeypatch.setattr(lease_keeper, "RENEW_SECONDS", 0.0)
    monkeypatch.setattr(ExportTask, "record", renew)
    with monkeypatch.context() as patched:
        patched.setattr(blobs, "open_blob", slowly)
        carry_out(task)

    with opened(task) as archive:
        widths = [
            Image.open(io.BytesIO(archive.read(line["path"]))).width
            for line in lines_of(archive, "annotations.jsonl")
        ]
    assert widths == list(range(1, 25))
    assert max(side_by_side) > 1
    assert len(renewed) > 24  # more often than there are members
