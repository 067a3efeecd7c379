"""The collector and verify with the blobs in an object store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.core.files.storage import default_storage

from inferences.maintenance import orphan_blobs
from istore import blobs
from istore.blobs.s3_storage import DELETE_AT_ONCE
from istore.checks import verification
from istore.db.clock import now

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def checks(s3_prefix, monkeypatch):
    monkeypatch.delitem(orphan_blobs.fates, "ingest")
    for name in ("consumers", "spool files"):
        monkeypatch.delitem(verification.checks, name)


def verify(**scope):
    """As it will be found in two days, when nothing here is young any more."""
    at = now() + timedelta(days=2)
    report = verification.report(verification.Scope(at, **scope))
    found = [(each.kind, each.where, each.repaired) for each in report.findings()]
    assert not report.unfinished
    return found


@pytest.fixture
def folder(model):
    moment = datetime(2025, 6, 1, tzinfo=UTC)
    return blobs.prefix_for(model.project_id, model.pk, moment, "u1")


def test_what_nobody_names_goes_and_what_a_record_names_stays(
    model, make_inference, folder
):
    blobs.put(f"{folder}/input", b"picture")
    blobs.put(f"{folder}/unknown", b"x")
    other = f"{folder[:-1]}2"
    blobs.put(f"{other}/input", b"x")
    make_inference(inference_id="a", data_storage_key=f"{folder}/input", data_size=7)

    expected = [("unnamed", folder, True), ("unnamed", other, True)]
    assert sorted(verify(repair=True)) == expected
    assert [each.key for each in blobs.walk()] == [f"{folder}/input"]
    assert verify() == []


def test_a_missing_object_and_one_of_another_size_are_told(make_inference, folder):
    blobs.put(f"{folder}/input", b"pic")
    make_inference(inference_id="a", data_storage_key=f"{folder}/input", data_size=7)
    make_inference(inference_id="b", data_storage_key=f"{folder}/gone", data_size=7)

    assert sorted(kind for kind, _, _ in verify()) == ["missing", "size-differs"]


def test_uploads_in_parts_that_never_ended_are_ended(folder):
    default_storage.begin_upload(f"{folder}/input")

    assert verify() == [("partial", f"{folder}/input", False)]
    assert verify(repair=True) == [("partial", f"{folder}/input", True)]
    assert verify() == []


def test_more_objects_than_a_request_may_name_go():
    keys = [f"1/1/2025/{number}/input" for number in range(DELETE_AT_ONCE + 5)]
    for key in keys[-3:]:
        blobs.put(key, b"x")

    blobs.delete(keys)

    assert list(blobs.walk()) == []
