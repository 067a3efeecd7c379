"""An erasure reaches the archives that hold what is erased, and those in the making."""

from __future__ import annotations

import pytest

from exports import archive_writer, cleanup
from exports.archive_writer import carry_out
from exports.models import ExportTask
from exports.tests.conftest import lines_of, opened, png
from inferences.erasure.matching_records import Carried
from inferences.erasure.running import erase, open_erasure
from inferences.models.erasure import ErasureTask
from inferences.models.metadata_values import MetadataValue
from inferences.store.metadata_edits import put_value
from istore import blobs
from istore.db import clock

PATIENT = Carried("patient", "string", "Jane Doe")


def erased(project) -> ErasureTask:
    task = open_erasure("test", project, PATIENT, why="asked for", dry_run=False)
    erase(task)
    assert task.state == "complete", task.reason
    return task


@pytest.fixture
def two(make_stored):
    make_stored(png(), [], inference_id="hers", metadata={"patient": "Jane Doe"})
    make_stored(png(9, 9), [], inference_id="his", metadata={"patient": "John Doe"})


def test_an_archive_that_holds_an_erased_record_goes(project, two, exported):
    both = exported("ndjson")
    his = exported("ndjson", exclude_inference_ids=["hers"])
    key = both.archive_key

    task = erased(project)

    both.refresh_from_db()
    assert not both.has_archive
    assert both.archive_removed_reason == "Something in it was erased."
    with pytest.raises(FileNotFoundError):
        blobs.size(key)
    his.refresh_from_db()
    assert his.has_archive
    assert task.report["traces"]["exports"] == 1


def test_an_archive_in_the_making_starts_over_without_it(
    project, model, two, monkeypatch
):
    task = ExportTask.objects.create(
        model=model, format="ndjson", selection={}, created_by="test"
    )

    def reached(step):
        if step == "archiving.members_written":
            monkeypatch.undo()
            erased(project)

    monkeypatch.setattr(archive_writer, "failpoint", reached)
    carry_out(task)
    held = ExportTask.objects.get()
    assert (held.state, held.archive_key) == ("running", "")
    carry_out(held)

    names = [
        each["inference_id"] for each in lines_of(opened(held), "inferences.ndjson")
    ]
    assert names == ["his"]
    assert held.receipt["skipped_by_reason"] == {"deleted": 1}
    # What the first attempt had written: a bucket got nothing yet, as it was little.
    left = {each.key for each in blobs.walk("exports/")} - {held.archive_key}
    assert cleanup.collect(clock.now()) == len(left)
    opened(held)


def test_an_archive_of_records_that_no_longer_carry_the_value_goes_too(
    project, model, two, exported
):
    task = exported("ndjson")
    other = MetadataValue("patient", "string", "nobody")
    put_value("test", model, "hers", other, replace=True)

    erased(project)

    task.refresh_from_db()
    assert not task.has_archive


def test_what_was_asked_for_by_the_value_is_forgotten(project, two, exported):
    asked = exported("ndjson", query='meta.patient="Jane Doe"')
    filters = {
        "metadata_filter": [
            {"key": "patient", "type": "string", "operator": "=", "value": "Jane Doe"}
        ]
    }
    filtered = exported("ndjson", filters=filters)
    other = exported("ndjson", query='meta.patient="John Doe"')

    erased(project)

    for task in (asked, filtered, other):
        task.refresh_from_db()
    assert "Jane" not in str([asked.selection, filtered.selection])
    assert other.selection == {"query": 'meta.patient="John Doe"'}
    assert other.has_archive
