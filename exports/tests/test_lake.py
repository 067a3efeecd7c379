"""The lake: each row once, schemas that grow, and any engine reads it."""

from __future__ import annotations

import signal
from datetime import timedelta

import chdb
import duckdb
import pyarrow.dataset
import pytest
from pyiceberg.table import StaticTable

from exports.lake import data_files, upkeep, verifying, warehouse
from exports.lake.catalog import open_catalog
from exports.lake.models import LakeTable
from exports.models import ExportedFile, ScheduledExport
from exports.schedules import lifecycle, runner
from exports.tests.schedules import DAY
from exports.tests.test_schedule_kills import killed_at  # noqa: F401 a fixture
from inferences.store import removal
from istore import blobs, failpoints
from istore.checks.verification import Scope
from istore.db import clock

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("lake", "blob_directory"),
]
STEPS = [
    "schedules.chunk_begun",
    "lake.files_stored",
    "lake.committed",
    "schedules.committing",
    "schedules.chunk_committed",
]


@pytest.fixture
def schedule(model, lake_schedule):
    return lake_schedule(model)


def engines(row: LakeTable) -> dict[str, list[str]]:
    """The ids of the table, sorted, as each engine reads them."""
    table = open_catalog().load_table(row.identifier)
    files = [task.file.file_path for task in table.scan().plan_files()]
    paths = [path.removeprefix("file://") for path in files]
    listed = ", ".join(f"'{path}'" for path in paths)
    by_duckdb = duckdb.sql(
        f"SELECT id FROM read_parquet([{listed}], union_by_name=true)"
    )
    by_chdb = []
    for path in paths:
        by_chdb += (
            chdb.query(f"SELECT id FROM file('{path}', Parquet)", "CSV").data().split()
        )
    return {
        # As another program opens it, without the store's own reader of files.
        "pyiceberg": sorted(
            StaticTable.from_metadata(table.metadata_location)
            .scan()
            .to_arrow()["id"]
            .to_pylist()
        ),
        "duckdb": sorted(name for (name,) in by_duckdb.fetchall()),
        "chdb": sorted(name.strip('"') for name in by_chdb),
        "pyarrow": sorted(pyarrow.dataset.dataset(paths).to_table()["id"].to_pylist()),
    }


def rows_of(row: LakeTable, *names: str) -> list[tuple]:
    """The values of these columns, by id, as pyiceberg reads them."""
    table = open_catalog().load_table(row.identifier)
    found = [
        batch.to_pylist()
        for file in data_files.files_of(table)
        for batch in data_files.batches_of(file)
    ]
    flat = sorted((r for rows in found for r in rows), key=lambda r: r["id"])
    return [tuple(each.get(name) for name in names) for each in flat]


def test_every_engine_reads_the_same_rows_under_plain_names(
    model, schedule, make_inference, run_lake
):
    make_inference({"camera": "north"}, created_at=DAY, detections=[("ship", 0.5)])
    make_inference({"camera": "south"}, created_at=DAY + timedelta(days=1))
    run = run_lake(schedule)
    make_inference({"speed": 2.5}, created_at=DAY)
    run_lake(schedule)

    row = LakeTable.objects.get()

    assert (run.state, run.row_count, run.file_count) == ("complete", 2, 2), run.reason
    assert (row.namespace, row.name) == ("harbour", "yolo_harbour")
    assert not ExportedFile.objects.exists()
    wanted = ["inference-1", "inference-2", "inference-3"]
    assert engines(row) == dict.fromkeys(
        ("pyiceberg", "duckdb", "chdb", "pyarrow"), wanted
    )
    table = open_catalog().load_table(row.identifier)
    names = [field.name for field in table.schema().fields]
    assert {"id", "timestamp", "prediction_label", "meta_camera", "meta_speed"} < set(
        names
    )
    assert not [name for name in names if ":" in name or "." in name]
    assert {tuple(file.partition) for file in data_files.files_of(table)} == {
        ("yolo-harbour", data_files.days_of(DAY.date())),
        ("yolo-harbour", data_files.days_of(DAY.date()) + 1),
    }
    assert [field.name for field in table.spec().fields] == [
        "model_id",
        "timestamp_day",
    ]


def test_keys_that_change_their_type_or_look_alike_get_columns_of_their_own(
    schedule, make_inference, run_lake
):
    make_inference({"gain": 3, "a.b": "dot", "A_b": "other"})
    run_lake(schedule)
    make_inference({"gain": 2.5})
    run_lake(schedule)
    make_inference({"gain": "high"})
    run_lake(schedule)

    row = LakeTable.objects.get()

    columns = ("meta_gain", "meta_gain_float", "meta_gain_text")
    assert rows_of(row, *columns) == [
        (3, None, None),
        (None, 2.5, None),
        (None, None, "high"),
    ]
    table = open_catalog().load_table(row.identifier)
    docs = {field.name: field.doc for field in table.schema().fields}
    assert docs["meta_A_b"] == ":tag.str:meta.A_b"
    assert docs["meta_a_b_2"] == ":tag.str:meta.a.b"


@pytest.mark.parametrize("step", STEPS)
def test_a_run_that_breaks_off_anywhere_leaves_neither_a_double_nor_a_hole(
    step, schedule, make_inference, settings
):
    settings.ISTORE_SCHEDULED_EXPORT_ROWS = 4
    for n in range(6):
        make_inference(created_at=DAY + timedelta(days=n % 2))
    failpoints.arm(f"{step}:1=raise")
    run = lifecycle.start("test", schedule)
    runner.carry_out(run)
    failpoints.arm("")
    make_inference(created_at=DAY)  # not of the chunk that is appended again

    for _ in range(5):
        run = ScheduledExport.objects.select_related("schedule__model__project").get()
        if not run.is_active:
            break
        runner.carry_out(run)

    assert (run.state, run.row_count) == ("complete", 6), run.reason
    row = LakeTable.objects.get()
    assert rows_of(row, "id") == [(f"inference-{n}",) for n in range(1, 7)]


def test_a_worker_killed_between_commit_and_commit_appends_nothing_twice(
    schedule,
    make_inference,
    killed_at,  # noqa: F811
):
    for _ in range(3):
        make_inference(created_at=DAY)
    run = lifecycle.start("test", schedule)

    for step in ("lake.files_stored", "lake.committed"):
        assert killed_at(step, run) == -signal.SIGKILL
        ago = clock.now() - timedelta(hours=1)
        ScheduledExport.objects.update(lease_until=ago, attempts_without_progress=0)
    run = ScheduledExport.objects.select_related("schedule__model__project").get()
    runner.carry_out(run)

    assert (run.state, run.row_count) == ("complete", 3), run.reason
    row = LakeTable.objects.get()
    assert rows_of(row, "id") == [(f"inference-{n}",) for n in range(1, 4)]


def test_small_files_become_one_and_old_snapshots_go_with_their_files(
    schedule, make_inference, run_lake, settings
):
    settings.ISTORE_LAKE_SMALL_FILES = 3
    for n in range(3):
        make_inference({f"key{n}": "x"}, created_at=DAY)
        run_lake(schedule)
    row = LakeTable.objects.get()
    before = rows_of(row, "id", "meta_key0", "meta_key2")

    assert upkeep.tend(row, clock.now())
    assert upkeep.tend(row, clock.now() + timedelta(days=4))

    table = open_catalog().load_table(row.identifier)
    assert len(data_files.files_of(table)) == 1
    assert rows_of(row, "id", "meta_key0", "meta_key2") == before
    assert len(list(table.snapshots())) == 1
    stored = [each.key for each in warehouse.walk(table.location())]
    assert len([key for key in stored if key.endswith(".parquet")]) == 1
    assert not list(verifying.files(Scope(clock.now())))
    blobs.delete(key for key in stored if key.endswith(".parquet"))
    (finding,) = verifying.files(Scope(clock.now()))
    assert "There is none." in str(finding)


@pytest.mark.parametrize("keeps", [True, False])
def test_what_the_store_removed_stays_only_by_choice(
    keeps, model, lake_schedule, make_inference, run_lake
):
    schedule = lake_schedule(model, keeps_removed=keeps)
    make_inference()
    make_inference()
    run_lake(schedule)
    removal.remove_one("test", model, "inference-1")

    upkeep.tend(LakeTable.objects.get(), clock.now())

    left = ["inference-1", "inference-2"] if keeps else ["inference-2"]
    assert rows_of(LakeTable.objects.get(), "id") == [(name,) for name in left]
