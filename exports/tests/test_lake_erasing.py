"""An erasure reaches the lake: after it no byte of what was erased is in any of its files."""

from __future__ import annotations

import zlib
from pathlib import Path

import fastavro
import pyarrow.parquet
import pytest

from exports.lake import rewriting, tables
from exports.lake.models import LakeTable
from exports.schedules import lifecycle, runner
from exports.tests.schedules import DAY
from exports.tests.test_export_erasing import PATIENT, erased
from exports.tests.test_lake import rows_of
from inferences.erasure.chosen_records import Chosen
from inferences.erasure.matching_records import Carried
from inferences.erasure.running import erase, open_erasure
from inferences.models.metadata_values import MetadataValue
from inferences.store import removal
from inferences.store.metadata_edits import put_value
from istore import failpoints

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def warehouse(lake, blob_directory) -> Path:
    yield blob_directory / "lake"
    failpoints.arm("")


def holds(folder: Path, text: str) -> list[str]:
    """The files in which the text is, packed or not."""
    met = []
    for path in folder.rglob("*"):
        if path.is_file() and text.encode() in unpacked(path):
            met.append(path.name)
    return met


def unpacked(path: Path) -> bytes:
    content = path.read_bytes()
    if path.suffix == ".parquet":
        table = pyarrow.parquet.read_table(path, partitioning=None)
        return content + repr(table.to_pylist()).encode()
    if path.suffix == ".avro":
        with path.open("rb") as file:
            return content + repr(list(fastavro.reader(file))).encode()
    if path.name.endswith(".gz.metadata.json"):
        return zlib.decompress(content, 31)
    return content


@pytest.fixture
def exported(model, lake_schedule, make_inference, run_lake):
    """Hers and his in two files of two days, and hers also in a file of an old snapshot."""
    make_inference({"patient": "Jane Doe"}, inference_id="id-of-hers", created_at=DAY)
    make_inference({"patient": "John Doe"}, inference_id="id-of-his", created_at=DAY)
    schedule = lake_schedule(model)
    run_lake(schedule)
    return schedule


def test_no_byte_of_an_erased_record_is_left_in_the_warehouse(
    project, exported, warehouse
):
    assert holds(warehouse, "Jane Doe")
    assert holds(warehouse, "id-of-hers")

    task = erased(project)

    assert not holds(warehouse, "Jane Doe")
    assert not holds(warehouse, "id-of-hers")
    assert rows_of(LakeTable.objects.get(), "id") == [("id-of-his",)]
    assert task.report["traces"]["lake"] == 1
    assert task.report["left"]["lake"] == 0


def test_what_only_the_lake_still_has_is_erased_too(
    project, model, exported, make_inference, run_lake, warehouse
):
    """A record that retention took, one whose value was changed, and one in an old snapshot."""
    make_inference({"patient": "Jane Doe"}, inference_id="second", created_at=DAY)
    make_inference({"patient": "Jane Doe"}, inference_id="third", created_at=DAY)
    run_lake(exported)
    removal.remove_one("test", model, "id-of-hers")
    put_value(
        "test", model, "second", MetadataValue("patient", "string", "x"), replace=True
    )
    row = LakeTable.objects.get()
    with tables.writing(row) as catalog:
        table = tables.load(catalog, row)
        files = rewriting.all_files(table)
        rewriting.merge(table, files)  # the files before are of an old snapshot

    task = erased(project)

    assert not holds(warehouse, "Jane Doe")
    assert rows_of(row, "id") == [("id-of-his",)]
    assert task.report["traces"]["lake"] == 3


@pytest.mark.parametrize("chosen", [False, True], ids=["by value", "by choice"])
def test_files_of_a_run_that_broke_off_go(
    chosen, project, model, lake_schedule, make_inference, warehouse
):
    hers = make_inference({"patient": "Jane Doe"}, created_at=DAY)
    schedule = lake_schedule(model)
    failpoints.arm("lake.files_stored=raise")
    run = lifecycle.start("test", schedule)
    runner.carry_out(run)
    failpoints.arm("")
    assert holds(warehouse, "Jane Doe")

    if chosen:
        meant = Chosen(model.model_id, (hers.id,))
        erase(open_erasure("test", project, meant, why="asked"))
    else:
        erased(project)
    run.refresh_from_db()
    runner.carry_out(run)

    assert not holds(warehouse, "Jane Doe")
    assert run.state == "complete", run.reason


@pytest.mark.parametrize("step", ["lake.rewritten", "lake.replaced"])
def test_an_erasure_that_breaks_off_while_it_rewrites_ends_when_it_is_resumed(
    step, project, exported, warehouse
):
    failpoints.arm(f"{step}=raise")
    task = open_erasure("test", project, PATIENT, why="asked", dry_run=False)
    erase(task)
    assert task.is_active
    failpoints.arm("")
    erase(task)

    assert task.state == "complete", task.reason
    assert not holds(warehouse, "Jane Doe")
    assert rows_of(LakeTable.objects.get(), "id") == [("id-of-his",)]


@pytest.mark.parametrize(
    ("metadata", "carried"),
    [
        ({"n": 12345678}, Carried("n", "int", "12345678")),
        ({"n": 2.5}, Carried("n", "float", "2.50")),
        ({"n": {"a": ["deep"]}}, Carried("n.a.0", "json.string", "deep")),
        ({"n": "12345678"}, Carried("n", "string", "12345678")),
    ],
)
def test_values_of_every_type_are_found_in_their_columns(
    metadata, carried, project, model, lake_schedule, make_inference, run_lake
):
    make_inference(metadata, inference_id="hers")
    make_inference({"n": "other"}, inference_id="his")
    run_lake(lake_schedule(model))
    make_inference(metadata, inference_id="later")
    run_lake(model.export_schedules.get())
    removal.remove_one("test", model, "hers")
    removal.remove_one("test", model, "later")

    task = open_erasure("test", project, carried, why="asked", dry_run=False)
    erase(task)

    assert task.state == "complete", task.reason
    assert task.report["traces"]["lake"] == 2
    assert rows_of(LakeTable.objects.get(), "id") == [("his",)]
