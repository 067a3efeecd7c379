"""Archives in an object store: sent in parts, whole or not there."""

from __future__ import annotations

import hashlib
import os
from datetime import timedelta

import pytest
from botocore.exceptions import ClientError
from django.core.files.storage import default_storage
from django.db.models.functions import Now

from exports import cleanup
from exports.archive_writer import carry_out
from exports.models import ExportTask
from exports.tests.conftest import opened
from istore import blobs, failpoints
from istore.blobs import sinks
from istore.checks.verification import Scope, report
from istore.db import clock

MIB = 1024**2


@pytest.fixture(autouse=True)
def bucket(s3_prefix, settings):
    settings.ISTORE_MULTIPART_BYTES = 5 * MIB  # the least that S3 takes


@pytest.fixture
def large(make_stored):
    return [
        make_stored(os.urandom(4 * MIB), [], data_content_type="audio/wav")
        for _ in range(3)
    ]


def open_uploads() -> list[str]:
    return [key for key, _ in blobs.open_uploads(clock.now() + timedelta(hours=1))]


def archives() -> list[str]:
    return [each.key for each in blobs.walk("exports/")]


def is_clean() -> None:
    run = report(Scope(clock.now() + timedelta(days=3)))
    run.names = ["archives", "leftovers of exports", "uploads in parts"]
    assert list(run.findings()) == []


def test_an_archive_of_several_parts_is_whole(large, exported):
    task = exported()

    content = blobs.get(task.archive_key)
    assert hashlib.sha256(content).hexdigest() == task.archive_sha256
    assert len(content) == task.archive_size > 10 * MIB
    assert opened(task).testzip() is None
    assert open_uploads() == []
    is_clean()


def test_an_empty_archive_is_sent_as_well(exported, model):
    opened(exported())


def test_a_store_that_answers_503_fails_the_task_and_keeps_no_parts(
    large, model, monkeypatch
):
    task = ExportTask.objects.create(
        model=model, format="chariot", selection={}, created_by="test"
    )
    client = default_storage.bucket.meta.client
    sent = []

    def unavailable(**part):
        sent.append(part["PartNumber"])
        answer = {"Error": {"Code": "SlowDown", "Message": "Please slow down"}}
        raise ClientError(answer, "UploadPart")

    with monkeypatch.context() as patched:
        patched.setattr(client, "upload_part", unavailable)
        for _ in range(3):
            carry_out(ExportTask.objects.get())
            ExportTask.objects.filter(state="running").update(
                lease_until=Now() - timedelta(seconds=1)
            )

    task.refresh_from_db()
    assert (task.state, task.reason) == ("failed", "Broke off: StoreUnavailable.")
    assert sent == [1, 1, 1]
    assert (open_uploads(), archives()) == ([], [])
    task.resume()
    carry_out(task)
    opened(task)
    is_clean()


def test_the_parts_of_a_worker_that_died_are_collected(large, model, monkeypatch):
    task = ExportTask.objects.create(
        model=model, format="chariot", selection={}, created_by="test"
    )
    monkeypatch.setattr(sinks.UploadSink, "abort", lambda sink: None)
    failpoints.arm("archiving.closing=raise")
    try:
        carry_out(task)
    finally:
        failpoints.arm("")
    assert len(open_uploads()) == 1
    # While its lease lasts the upload is somebody's.
    ExportTask.objects.update(lease_until=Now() + timedelta(minutes=1))
    assert cleanup.collect(clock.now() + timedelta(seconds=2)) == 0

    ExportTask.objects.update(lease_until=Now() - timedelta(minutes=5))
    assert cleanup.collect(clock.now() + timedelta(seconds=2)) == 1

    assert open_uploads() == []
    carry_out(ExportTask.objects.get())
    is_clean()


def test_an_archive_expires(large, exported):
    task = exported()

    assert cleanup.collect(task.archive_expires_at) == 1

    assert archives() == []
    with pytest.raises(FileNotFoundError):
        blobs.get(task.archive_key)
