"""A lake whose home moved, whose backup is restored, and whose tables are dropped."""

from __future__ import annotations

import shutil
import sys
from contextlib import suppress
from datetime import timedelta

import pytest
from django.db import connection
from inference_store import cli
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.table import StaticTable

from exports.lake import backing_up, dropping, upkeep, verifying, warehouse
from exports.lake.catalog import open_catalog
from exports.lake.models import LakeTable
from exports.lake.query.running import query
from exports.tests.schedules import DAY
from exports.tests.test_export_erasing import erased
from istore import blobs, failpoints
from istore.accounts.tokens import create_token
from istore.backup import database, layout
from istore.backup.making import make_backup
from istore.backup.targets import open_target
from istore.checks.verification import Scope
from istore.db import clock
from istore.errors import Conflict
from istore.models import Project, Role

pytestmark = pytest.mark.django_db(transaction=True)
SQL = "SELECT id, meta_patient FROM yolo_harbour ORDER BY id"
HERS, HIS = ["id-of-hers", "Jane Doe"], ["id-of-his", "John Doe"]


@pytest.fixture
def row(model, lake_schedule, make_inference, run_lake, blob_directory) -> LakeTable:
    make_inference({"patient": "Jane Doe"}, inference_id="id-of-hers", created_at=DAY)
    run_lake(lake_schedule(model))
    make_inference({"patient": "John Doe"}, inference_id="id-of-his", created_at=DAY)
    run_lake(model.export_schedules.get())
    return LakeTable.objects.get()


# -- another place


def test_a_home_that_moved_is_asked_written_and_erased_as_before(
    row, project, model, make_inference, run_lake, settings, blob_directory, tmp_path
):
    moved = tmp_path / "elsewhere" / "lake" / "blobs"
    moved.parent.mkdir(parents=True)
    shutil.move(blob_directory, moved)
    settings.STORAGES = settings.STORAGES | {
        "default": settings.STORAGES["default"] | {"OPTIONS": {"location": moved}}
    }
    assert warehouse.base().endswith(str(moved))

    assert query([project], SQL).rows == [HERS, HIS]
    make_inference({"patient": "new"}, inference_id="z", created_at=DAY)
    assert run_lake(model.export_schedules.get()).state == "complete"
    failpoints.arm("lake.relocated=raise")
    with pytest.raises(failpoints.Failure):
        upkeep.tend(row, clock.now())
    failpoints.arm("")
    assert query([project], SQL).rows == [HERS, HIS, ["z", "new"]]

    assert upkeep.tend(row, clock.now())

    table = open_catalog().load_table(row.identifier)
    assert warehouse.is_here(table.metadata_location)
    plain = StaticTable.from_metadata(table.metadata_location)
    assert isinstance(plain.io, PyArrowFileIO)
    assert sorted(plain.scan().to_arrow()["id"].to_pylist()) == [
        "id-of-hers",
        "id-of-his",
        "z",
    ]
    assert not blob_directory.exists()
    erased(project)
    assert upkeep.tend(row, clock.now() + timedelta(days=4))
    assert query([project], SQL).rows == [HIS, ["z", "new"]]
    assert not list(verifying.files(Scope(clock.now())))


# -- backups


def backed_up(target: str) -> set[str]:
    name = layout.complete_backups(open_target(target))[-1]
    manifest = layout.Manifest.read(open_target(target), name)
    assert not manifest.missing
    with layout.downloaded(open_target(target), manifest, layout.INVENTORY) as file:
        return {blob.key for blob in layout.read_inventory(file)}


def test_a_backup_has_every_file_of_the_catalogue_in_its_dump(
    row, project, model, make_inference, run_lake, settings, tmp_path, monkeypatch
):
    settings.ISTORE_RECONCILE_HOURS = -24  # nothing is young: files must be named
    target = str(tmp_path / "backup")
    in_dump = set(backing_up.keys(database.column))
    assert len([key for key in in_dump if key.endswith(".parquet")]) == 2

    def go_on() -> None:
        """Write, merge and expire, between the dump and the copies."""
        settings.ISTORE_LAKE_SMALL_FILES = 2
        for n in range(12):
            make_inference({"patient": str(n)}, created_at=DAY)
            run_lake(model.export_schedules.get())
            upkeep.tend(row, clock.now() + timedelta(days=5))

    at_failpoint(monkeypatch, "backup.dumped", go_on)
    make_backup(target, keep=2)

    assert in_dump <= backed_up(target)
    assert in_dump - {each.key for each in blobs.walk("lake/")} == set()
    upkeep.tend(row, clock.now() + timedelta(days=5))
    left = {each.key for each in blobs.walk("lake/")}
    assert len(in_dump - left) == len(in_dump)


def test_an_erasure_in_the_midst_ends_the_backup(row, project, tmp_path, monkeypatch):
    at_failpoint(monkeypatch, "backup.dumped", lambda: erased(project))
    with pytest.raises(Conflict) as raised:
        make_backup(str(tmp_path / "backup"), keep=2)
    assert raised.value.code == "backup-overtaken"
    monkeypatch.undo()
    make_backup(str(tmp_path / "backup"), keep=2)
    assert set(backing_up.keys(database.column)) <= backed_up(str(tmp_path / "backup"))


def at_failpoint(monkeypatch, name: str, act) -> None:
    """Act once, when a backup comes to this failpoint."""
    from istore.backup import making

    waiting = [act]

    def reached(found: str) -> None:
        if found == name and waiting:
            waiting.pop()()

    monkeypatch.setattr(making, "failpoint", reached)


# -- tables whose schedule goes


@pytest.fixture
def schedules_url(row, model) -> str:
    schedule = model.export_schedules.get()
    return f"/api/v1/models/{model.model_id}/export-schedules/{schedule.pk}"


def files() -> list[str]:
    return [each.key for each in blobs.walk("lake/")]


def test_a_kept_table_is_asked_and_erased_on_and_dropped_later(
    row, project, api_as, schedules_url
):
    api = api_as(Role.EDITOR)
    for asked, name in (("table=both", "table"), ("tables=drop", "tables")):
        refused = api.delete(f"{schedules_url}?{asked}")
        assert refused.status_code == 400
        assert name in refused.content.decode()
    in_use = api.delete(f"/api/v1/lake/tables/{row}")
    assert (in_use.status_code, in_use.json()["code"]) == (409, "lake-table-in-use")

    assert api.delete(schedules_url).status_code == 204

    assert query([project], SQL).rows == [HERS, HIS]
    erased(project)
    assert query([project], SQL).rows == [HIS]
    assert upkeep.tend(LakeTable.objects.get(), clock.now())
    other = Project.objects.create(project_id="other")
    address = f"/api/v1/lake/tables/{row}"
    assert api_as(Role.ADMINISTRATOR, other).delete(address).status_code == 404
    assert api_as(Role.VIEWER).delete(address).status_code == 403
    assert api.delete("/api/v1/lake/tables/no.such").status_code == 404
    assert api.delete(address).status_code == 204
    dropping.finish_all()
    assert (files(), LakeTable.objects.count()) == ([], 0)


def test_a_drop_that_broke_off_is_ended_by_the_upkeep_or_an_erasure(
    row, project, api_as, schedules_url
):
    api = api_as(Role.EDITOR)
    assert api.delete(f"{schedules_url}?table=drop").status_code == 204
    assert api.get("/api/v1/lake/tables").json()["results"] == []
    asked = api.post("/api/v1/lake/sql", {"sql": SQL})
    assert asked.status_code == 400
    assert files()
    failpoints.arm("lake.dropped=raise")
    with pytest.raises(failpoints.Failure):
        dropping.finish(row)
    failpoints.arm("")
    assert files()

    erased(project)

    assert (files(), LakeTable.objects.count()) == ([], 0)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM istore_lake.iceberg_tables")
        assert cursor.fetchone() == (0,)


def test_pages_and_command_offer_both(
    row, project, model, person, live_server, monkeypatch, capsys, schedules_url
):
    editor = person(Role.EDITOR)
    page = (
        f"/models/{model.model_id}/exports/schedules/{model.export_schedules.get().pk}"
    )
    shown = editor.get(page).content.decode()
    assert 'value="keep" checked' in shown
    assert editor.post(f"{page}/delete", {"table": "x"}).status_code == 400
    told = editor.post(f"{page}/delete", {"table": "keep"}, follow=True)
    assert f"The table {row} stays in the lake" in told.content.decode()
    drop = f"/exports/lake/{row}/drop"
    assert drop in editor.get("/exports/lake").content.decode()
    assert drop not in person(Role.VIEWER).get("/exports/lake").content.decode()
    assert person(Role.VIEWER).post(drop).status_code == 403

    _, secret = create_token("test", project, Role.EDITOR)
    monkeypatch.setenv("ISTORE_URL", live_server.url)
    monkeypatch.setenv("ISTORE_TOKEN", secret)
    monkeypatch.setattr(sys, "argv", ["istore", "lake", "drop", str(row), "--yes"])
    with suppress(SystemExit):
        cli.main()
    assert LakeTable.objects.present().count() == 0
