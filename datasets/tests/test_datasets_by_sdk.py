"""The client and the command fill, publish, split, compare and fetch datasets."""

from __future__ import annotations

import json
import sys
import zipfile

import pytest
from inference_store import Client, cli, errors, models

from exports.tests.conftest import png
from istore.accounts.tokens import create_token
from istore.models import Role

SHIP = {"label": "ship", "score": 0.9, "xmin": 1, "ymin": 2, "xmax": 30, "ymax": 40}


@pytest.fixture
def token(project):
    return create_token("test", project, Role.EDITOR)[1]


@pytest.fixture
def client(live_server, token):
    with Client(live_server.url, token) as found:
        yield found


@pytest.fixture
def worker(queue):
    """A worker that begins at once."""
    queue.is_eager = True


def istore(live_server, token, monkeypatch, capsys, *arguments) -> str:
    monkeypatch.setenv("ISTORE_URL", live_server.url)
    monkeypatch.setenv("ISTORE_TOKEN", token)
    monkeypatch.setattr(sys, "argv", ["istore", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    told = capsys.readouterr()
    assert end.value.code == 0, told.err
    return told.out


def test_the_client_carries_a_dataset_from_a_selection_to_an_archive(
    client, make_stored, worker
):
    make_stored(png(), [SHIP], inference_id="a")
    make_stored(png(9, 9), [SHIP | {"label": "car"}], inference_id="b")
    datasets = client.dataset
    made = datasets.create_dataset("harbour", models.NewDatasetRequest(name="hard"))
    assert (made.working_version, made.published_version) == (1, 0)
    with pytest.raises(errors.Conflict):
        datasets.create_dataset("harbour", models.NewDatasetRequest(name="hard"))
    begun = datasets.add_to_dataset(
        "harbour",
        "hard",
        models.NewAdditionRequest(
            model_id="yolo-harbour",
            selection=models.DatasetSelection(query="label:ship"),
        ),
    )
    ended = datasets.get_addition("harbour", "hard", begun.id)
    assert ended.has_ended and ended.counts["added"] == 1
    half = models.Splitting(kind="share", shares={"train": 0.5, "test": 0.5})
    datasets.change_dataset("harbour", "hard", models.DatasetChange(splitting=half))
    (entry,) = datasets.list_entries("harbour", "hard")
    assert entry.labels == ["ship"] and entry.split in ("train", "test")
    version = datasets.publish_version("harbour", "hard", "the first")
    assert (version.version, version.entries, version.labels) == (1, 1, {"ship": 1})
    assert [each.version for each in datasets.list_versions("harbour", "hard")] == [1]
    assert datasets.remove_entries("harbour", "hard", [entry.entry_id]) == 1
    compared = datasets.compare_versions("harbour", "hard", 1)
    assert (compared.removed, compared.kept) == (1, 0)
    archive = datasets.create_archive(
        "harbour", "hard", 1, models.NewDatasetArchiveRequest(format="coco")
    )
    archive = datasets.get_archive("harbour", "hard", archive.id)
    assert archive.has_ended and archive.written_count == 1 and archive.presigned_url
    assert datasets.get_version("harbour", "hard", 7) is None
    assert datasets.delete_dataset("harbour", "hard") == "hard"
    assert datasets.get_dataset("harbour", "hard") is None
    assert datasets.list_datasets("harbour") == []


def test_the_command_does_the_same(
    live_server, token, make_stored, worker, monkeypatch, capsys, tmp_path, settings
):
    settings.ISTORE_URL = live_server.url
    make_stored(png(), [SHIP], inference_id="a")

    def run(*arguments) -> str:
        return istore(live_server, token, monkeypatch, capsys, "dataset", *arguments)

    assert run("create", "harbour", "hard") == "hard\n"
    assert "1 added" in run(
        "add", "harbour", "hard", "yolo-harbour", "-q", "label:ship"
    )
    assert "train" in run("split", "harbour", "hard", "train=0.9", "test=0.1")
    assert "ship" in run("show", "harbour", "hard")
    assert "published" in run("publish", "harbour", "hard", "--note", "first")
    assert "1 kept" in run("compare", "harbour", "hard", "1")
    told = json.loads(
        run("download", "harbour", "hard", 1, "-o", tmp_path / "hard.zip", "--json")
    )
    assert told["written_count"] == 1
    assert "annotations.jsonl" in zipfile.ZipFile(tmp_path / "hard.zip").namelist()
    assert "hard" in run("list", "harbour")
    assert run("delete", "harbour", "hard", "--yes") == "hard\n"


def test_the_client_counts_labels_moves_entries_and_finds_duplicates(
    client, make_stored, worker
):
    make_stored(png(), [SHIP], inference_id="a")
    make_stored(png(), [SHIP], inference_id="b")
    datasets = client.dataset
    datasets.create_dataset("harbour", models.NewDatasetRequest(name="hard"))
    datasets.add_to_dataset(
        "harbour", "hard", models.NewAdditionRequest(model_id="yolo-harbour")
    )
    shares = models.Splitting(kind="share", shares={"train": 0.5, "test": 0.5})
    datasets.change_dataset("harbour", "hard", models.DatasetChange(splitting=shares))
    entries = datasets.list_entries("harbour", "hard", query="label:ship")
    ids = [each.entry_id for each in entries]
    assert datasets.move_entries("harbour", "hard", ids[:1], "test") == 1
    told = datasets.get_distribution("harbour", "hard")
    assert told.answers == {"ship": {"test": 2}}  # one input: both moved
    (group,) = datasets.list_duplicates("harbour", "hard")
    assert (group.count, [each.entry_id for each in group.entries]) == (2, ids)
    with pytest.raises(errors.Conflict):
        datasets.change_dataset(
            "harbour",
            "hard",
            models.DatasetChange(splitting=models.Splitting(kind="none")),
        )
        datasets.move_entries("harbour", "hard", ids, "test")
