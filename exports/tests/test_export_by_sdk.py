"""The client and the command against the real API: from a selection to files on disk."""

from __future__ import annotations

import json
import sys
import zipfile
from types import SimpleNamespace

import pytest
from inference_store import Client, cli, connection, errors, export_task, models
from inference_store.cli import exporting
from inference_store.downloading import DownloadFailed, download
from inference_store.errors import NotFound

from exports.models import ExportTask
from exports.tasks import run_export_task
from exports.tests.conftest import png
from istore.accounts.tokens import create_token
from istore.models import Role

SHIP = {"label": "ship", "score": 0.9, "xmin": 1, "ymin": 2, "xmax": 30, "ymax": 40}
MODEL = "yolo-harbour"


@pytest.fixture
def token(project) -> str:
    return create_token("sdk", project, Role.EDITOR)[1]


@pytest.fixture
def client(live_server, token, settings):
    settings.ISTORE_URL = live_server.url
    connection.current = Client(live_server.url, token)
    yield connection.current
    connection.current.close()
    connection.current = None


def work() -> None:
    """What a worker does."""
    for task in ExportTask.objects.active():
        run_export_task(str(task.pk))


def test_the_program_of_the_usage_page_and_its_download(client, make_stored, tmp_path):
    make_stored(png(), [SHIP], inference_id="frame-13", data_source="quay-3")
    make_stored(png(), [SHIP], inference_id="frame-14", data_source="quay-3")
    make_stored(png(), [SHIP], inference_id="elsewhere", data_source="quay-4")

    task = export_task.create_export_task(
        MODEL,
        models.NewExportTaskRequest(
            filters=models.BaseInferenceFilter(data_source_filter="quay-3"),
            exclude_inference_ids=["frame-14"],
            include_inferences_as_annotations=True,
            include_custom_metadata=True,
        ),
    )
    assert task.state in ("pending", "scheduled")
    assert (task.expected_count, task.presigned_url) == (1, None)
    work()
    task = export_task.get_export_task(MODEL, task.id)

    assert (task.state, task.progress_count) == ("complete", 1)
    path = download(task, tmp_path / "archive.zip")
    with zipfile.ZipFile(path) as archive:
        (line,) = map(json.loads, archive.read("annotations.jsonl").splitlines())
    assert line["annotations"][0]["class_label"] == "ship"
    path.unlink()
    task.archive_sha256 = "0" * 64
    with pytest.raises(DownloadFailed, match="not what was written"):
        download(task, path)
    assert list(tmp_path.glob("*archive*")) == []


def test_tasks_are_listed_stopped_and_tried_again(client, make_stored):
    make_stored()
    first = export_task.create_export_task(MODEL, models.NewExportTaskRequest())
    second = export_task.create_export_task(
        MODEL, models.NewExportTaskRequest(format="coco", only_included=True)
    )

    stopped = export_task.stop_export_task(MODEL, first.id)
    with pytest.raises(errors.Conflict) as refused:
        export_task.stop_export_task(MODEL, first.id)
    again = export_task.retry_export_task(MODEL, first.id)
    coco = models.NewGetExportTasksRequest(format_filter="coco")
    page = models.NewGetExportTasksRequest(pagination=models.Pagination(limit=1))
    one = export_task.filter_export_tasks(MODEL, page)
    page.pagination.cursor = one.next
    rest = export_task.filter_export_tasks(MODEL, page)

    assert (stopped.state, again.state) == ("stopped", "pending")
    assert refused.value.code == "task-already-ended"
    found = export_task.filter_export_tasks(MODEL, coco)
    assert [each.id for each in found] == [second.id]
    assert [each.id for each in one + rest] == [first.id, second.id]
    assert rest.next is None
    assert export_task.get_export_task(MODEL, "nothing") is None
    with pytest.raises(NotFound, match="no model 'm'"):
        export_task.create_export_task("m", models.NewExportTaskRequest())
    names = [each.name for each in export_task.list_export_formats()]
    assert names[:3] == ["chariot", "coco", "yolo"]


@pytest.fixture
def istore(client, token, monkeypatch, capsys):
    """``istore("export", …)``; each time the command waits, a worker works."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setenv("ISTORE_URL", client.url)
        monkeypatch.setenv("ISTORE_TOKEN", token)
        monkeypatch.setattr(sys, "argv", ["istore", *arguments])
        waiting = SimpleNamespace(sleep=lambda seconds: work())
        monkeypatch.setattr(exporting, "time", waiting)
        status = 0
        try:
            cli.main()
        except SystemExit as end:
            status = end.code or 0
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def test_the_command_exports_follows_fetches_and_checks(istore, make_stored, tmp_path):
    make_stored(png(), [SHIP], inference_id="a")
    make_stored(b"text", [SHIP], inference_id="b")
    make_stored(png(), [], inference_id="c")

    status, out, _ = istore(
        *("export", MODEL, "--format", "coco", "--label", "ship"),
        *("--include", "c", "--output", str(tmp_path)),
    )

    assert status == 0
    (path,) = tmp_path.glob("yolo-harbour-coco-*.zip")
    assert f"{path}: 2 of 3 inferences" in out
    assert "1 skipped: not-a-picture" in out
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None


def test_the_command_says_why_an_export_failed_and_names_the_formats(
    istore, make_stored, settings
):
    make_stored()
    make_stored()
    _, task_id, _ = istore("export", MODEL, "--no-download")
    settings.ISTORE_EXPORT_MAX = 1

    status, _, _ = istore("export", MODEL, "--task", task_id.strip())
    _, formats, _ = istore("formats", "--json")

    assert "ended failed: More than 1 inferences are chosen" in status
    names = {json.loads(line)["name"] for line in formats.splitlines()}
    assert {"chariot", "yolo"} <= names
