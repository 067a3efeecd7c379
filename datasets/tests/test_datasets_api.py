"""Datasets as the API makes, fills, publishes, compares and downloads them."""

from __future__ import annotations

import io
import json
import zipfile

import pytest

from datasets.models import DatasetArchive
from datasets.tasks import run_adding_task, run_archive_task
from exports.formats import FORMATS
from exports.formats.chats import CHAT_FORMATS
from exports.tests.conftest import png
from inferences.erasure import matching_records, trace_holders
from inferences.store import pack_rewriting
from istore import blobs
from istore.blobs import packs
from istore.checks import verification
from istore.db.clock import now
from istore.models import Role

DATASETS = "/api/v1/projects/harbour/datasets"
HARD = f"{DATASETS}/hard"
CHATS = {each.name for each in CHAT_FORMATS}
SHIP = {"label": "ship", "score": 0.9, "xmin": 1, "ymin": 2, "xmax": 30, "ymax": 40}
CAR = SHIP | {"label": "car", "score": 0.3}


@pytest.fixture
def filled(api, make_stored):
    """A dataset with three entries, of which two are ships."""
    make_stored(png(), [SHIP], inference_id="a")
    make_stored(png(20, 20), [SHIP], inference_id="b")
    make_stored(png(30, 30), [CAR], inference_id="c")
    assert api.post(DATASETS, {"name": "hard"}, format="json").status_code == 201
    return added(api, {})


def added(api, selection, **more):
    body = {"model_id": "yolo-harbour", "selection": selection, **more}
    opened = api.post(f"{HARD}/additions", body, format="json")
    assert opened.status_code == 201, opened.json()
    run_adding_task(opened.json()["id"])
    return api.get(f"{HARD}/additions/{opened.json()['id']}").json()


def published(api, note=""):
    return api.post(f"{HARD}/versions", {"note": note}, format="json")


def downloaded(api, version=1, **wanted) -> zipfile.ZipFile:
    opened = api.post(f"{HARD}/versions/{version}/archives", wanted, format="json")
    assert opened.status_code == 201, opened.json()
    run_archive_task(opened.json()["id"])
    task = api.get(f"{HARD}/archives/{opened.json()['id']}").json()
    assert task["state"] == "complete", task
    file = api.get(f"{HARD}/archives/{task['id']}/file")
    return zipfile.ZipFile(io.BytesIO(b"".join(file)))


def test_a_selection_is_added_and_told(api, filled):
    assert filled["state"] == "complete"
    assert filled["counts"]["added"] == filled["progress_count"] == 3
    told = api.get(f"{HARD}/versions/working").json()
    assert (told["entries"], told["labels"]) == (3, {"ship": 2, "car": 1})
    assert told["models"] == {"yolo-harbour": 3}
    page = api.get(f"{HARD}/versions/working/entries?limit=2").json()
    assert [each["inference_id"] for each in page["results"]] == ["a", "b"]
    after = api.get(f"{HARD}/versions/working/entries?cursor={page['next']}").json()
    assert [each["inference_id"] for each in after["results"]] == ["c"]
    assert after["next"] is None
    cars = api.get(f"{HARD}/versions/working/entries?label=car").json()
    assert [each["inference_id"] for each in cars["results"]] == ["c"]


def test_versions_are_published_once_and_compared(api, filled):
    first = published(api, "the first")
    assert first.status_code == 201
    assert first.json()["entries"] == 3
    assert published(api).json()["code"] == "nothing-changed"
    entries = api.get(f"{HARD}/versions/1/entries").json()["results"]
    gone = {"entry_ids": [entries[0]["entry_id"]]}
    assert api.post(f"{HARD}/entries/remove", gone, format="json").json() == {
        "removed": 1
    }
    found = api.get(f"{HARD}/compare/1..working").json()
    assert (found["added"], found["removed"], found["kept"]) == (0, 1, 2)
    assert found["labels"]["ship"] == {"before": 2, "after": 1}
    assert found["first_removed"][0]["inference_id"] == "a"
    assert published(api).json()["version"] == 2
    assert len(api.get(f"{HARD}/versions/1/entries").json()["results"]) == 3


def test_splits_are_of_the_version(api, filled):
    wanted = {"kind": "share", "shares": {"train": 0.5, "test": 0.5}, "seed": 7}
    changed = api.patch(HARD, {"splitting": wanted}, format="json")
    assert changed.status_code == 200, changed.json()
    assert sum(published(api).json()["splits"].values()) == 3
    api.patch(HARD, {"splitting": wanted | {"seed": 8}}, format="json")
    assert published(api).status_code == 201  # another split is another version
    entries = api.get(f"{HARD}/versions/1/entries").json()["results"]
    assert entries and {each["split"] for each in entries} <= {"train", "test"}


@pytest.mark.parametrize("name", list(FORMATS))
def test_a_version_is_downloaded_in_every_format(api, filled, name):
    wanted = {"kind": "share", "shares": {"train": 0.5, "test": 0.5}}
    api.patch(HARD, {"splitting": wanted}, format="json")
    published(api)
    archive = downloaded(api, format=name)
    manifest = json.loads(archive.read("manifest.json"))
    assert manifest["dataset"] == "hard"
    # Pictures are no conversations.
    written = 0 if name in CHATS else 3
    assert (manifest["expected_count"], manifest["written_count"]) == (3, written)
    assert archive.testzip() is None


def test_annotations_are_the_ground_truth_where_there_is_one(api, filled):
    truth = {"boxes": [{"label": "tug", "xmin": 1, "ymin": 2, "xmax": 3, "ymax": 4}]}
    address = "/api/v1/models/yolo-harbour/inferences/a/ground-truth"
    assert api.put(address, truth, format="json").status_code in (200, 201)
    assert added(api, {})["counts"]["updated"] == 1
    assert published(api).json()["labels"] == {"car": 1, "ship": 1, "tug": 1}
    lines = downloaded(api).read("annotations.jsonl").splitlines()
    labels = [
        one["class_label"] for line in lines for one in json.loads(line)["annotations"]
    ]
    assert sorted(labels) == ["car", "ship", "tug"]


def test_only_published_versions_are_downloaded(api, filled):
    opened = api.post(f"{HARD}/versions/working/archives", {}, format="json")
    assert (opened.status_code, opened.json()["code"]) == (409, "version-not-published")


def test_a_viewer_reads_and_changes_nothing(api_as, filled):
    viewer = api_as(Role.VIEWER)
    assert viewer.get(f"{HARD}/versions/working/entries").status_code == 200
    for method, address, body in [
        ("post", DATASETS, {"name": "other"}),
        ("patch", HARD, {"description": "x"}),
        ("delete", HARD, None),
        ("post", f"{HARD}/additions", {"model_id": "yolo-harbour"}),
        ("post", f"{HARD}/versions", {}),
        ("post", f"{HARD}/entries/remove", {"entry_ids": [1]}),
    ]:
        assert getattr(viewer, method)(address, body, format="json").status_code == 403


def test_filters_know_what_is_in_a_dataset(api, filled, make_stored):
    make_stored(png(), [SHIP], inference_id="d")
    address = "/api/v1/models/yolo-harbour/inferences/filter"

    def found(body):
        answer = api.post(address, body, format="json")
        assert answer.status_code == 200, answer.json()
        return [each["inference_id"] for each in answer.json()["results"]]

    assert found({"filter": {"in_dataset": "hard"}}) == ["a", "b", "c"]
    assert found({"query": "dataset:hard label:car"}) == ["c"]
    assert found({"query": "-dataset:hard"}) == ["d"]
    assert found({"query": "dataset:none"}) == []
    assert found({"query": "has:dataset"}) == ["a", "b", "c"]
    assert found({"query": "no:dataset"}) == ["d"]


def test_an_erasure_reaches_entries_archives_and_inputs(api, filled, project, model):
    published(api)
    downloaded(api)
    (task,) = DatasetArchive.objects.all()
    row = model.inferences.get(inference_id="a")
    assert trace_holders["dataset entries"].of_records(model, [row.pk]) == 1
    task.refresh_from_db()
    assert not task.has_archive
    left = api.get(f"{HARD}/versions/1/entries").json()["results"]
    assert [each["inference_id"] for each in left] == ["b", "c"]
    (pack,) = [each.key for each in blobs.walk("datasets/")]
    members = [each.content_key(pack) for each in packs.read_index(pack)]
    assert len(packs.unreleased(members)) == 2 < len(members)


def test_an_erasure_finds_values_of_inferences_that_are_gone(
    api, make_stored, project, model
):
    make_stored(png(), [SHIP], inference_id="a", metadata={"person": "p-7"})
    api.post(DATASETS, {"name": "hard"}, format="json")
    added(api, {})
    of_value = trace_holders["dataset entries"].of_value
    assert of_value(project, matching_records.Carried("person", "string", "p-8")) == 0
    assert of_value(project, matching_records.Carried("person", "string", "p-7")) == 1
    pack_rewriting.rewrite_all()  # an erasure does, and waits for it
    assert list(blobs.walk("datasets/")) == []


def test_verify_finds_inputs_that_are_missing(api, filled):
    check = verification.checks["dataset inputs"]
    scope = verification.Scope(at=now(), deep=True)
    assert list(check.look(scope)) == []
    first = next(iter(blobs.walk("datasets/")))
    blobs.delete([first.key])
    found = [each.where for each in check.look(scope)]
    assert len(found) == 3
    assert {packs.pack_of(each) for each in found} == {first.key}


def test_labels_are_counted_by_split_and_entries_are_moved(api, filled):
    splitting = {"kind": "share", "shares": {"train": 0.5, "test": 0.5}}
    api.patch(HARD, {"splitting": splitting}, format="json")
    address = f"{HARD}/versions/working/distribution"
    told = api.get(address).json()
    assert sum(told["entries"].values()) == 3
    assert sum(told["answers"]["ship"].values()) == 2
    assert told["truths"] == {}
    narrowed = api.get(address, {"query": "label:car"}).json()
    assert list(narrowed["answers"]) == ["car"]
    refused = api.get(address, {"query": "is:protected"})
    assert refused.status_code == 400
    assert "cannot be asked for" in refused.content.decode()
    assert "unknown-parameter" in api.get(address, {"q": "x"}).content.decode()
    listed = api.get(f"{HARD}/versions/working/entries").json()["results"]
    moved = {"entry_ids": [each["entry_id"] for each in listed], "split": "test"}
    answer = api.post(f"{HARD}/entries/move", moved, format="json")
    assert answer.json() == {"moved": 3}
    assert api.get(address).json()["entries"] == {"test": 3, "train": 0}
    asked = {"query": "split:test label:ship"}
    found = api.get(f"{HARD}/versions/working/entries", asked).json()["results"]
    assert [each["inference_id"] for each in found] == ["a", "b"]
    nowhere = api.post(f"{HARD}/entries/move", moved | {"split": "none"}, format="json")
    assert nowhere.status_code == 400


def test_equal_inputs_are_listed_page_by_page(api, filled, make_stored, monkeypatch):
    monkeypatch.setattr("datasets.duplicates.WINDOW", 1)
    make_stored(png(), [SHIP], inference_id="d")
    make_stored(png(30, 30), [CAR], inference_id="e")
    added(api, {})
    address = f"{HARD}/duplicates"
    first = api.get(address, {"limit": 1}).json()
    second = api.get(address, {"limit": 1, "cursor": first["next"]}).json()
    groups = [*first["results"], *second["results"]]
    names = [[e["inference_id"] for e in group["entries"]] for group in groups]
    assert sorted(names) == [["a", "d"], ["c", "e"]]
    assert {group["count"] for group in groups} == {2}
    assert api.get(address, {"kind": "across"}).json() == {"results": [], "next": None}
    api.post(DATASETS, {"name": "other"}, format="json")
    body = {"model_id": "yolo-harbour", "selection": {"query": "label:car"}}
    task = api.post(f"{DATASETS}/other/additions", body, format="json").json()
    run_adding_task(task["id"])
    across = api.get(address, {"kind": "across"}).json()["results"]
    assert [len(group["elsewhere"]) for group in across] == [2]
    assert across[0]["elsewhere"][0]["dataset"] == "other"
    assert api.get(address, {"kind": "none"}).status_code == 400
    assert api.get(address, {"cursor": "x"}).status_code == 400


@pytest.mark.django_db
def test_inputs_with_near_embeddings_are_alike(dataset, model):
    from datasets import duplicates
    from datasets.models import DatasetEntry

    source = dataset.sources.create(
        model_id="m", task_type="", box_format="", class_labels=[], embedding_size=3
    )
    vectors = [[1, 0, 0], [2, 0.01, 0], [0, 1, 0], [0, 0, 0], [0, 0.9, 0.01]]
    DatasetEntry.objects.bulk_create(
        DatasetEntry(
            dataset=dataset,
            source=source,
            model_id="m",
            inference_id=str(n),
            row_id=n,
            first_version=1,
            happened_at=now(),
            inference_action=1,
            data_hash=bytes([n]) * 32,
            data_size=1,
            embedding=vector,
            content_hash=b"",
        )
        for n, vector in enumerate(vectors)
    )
    assert duplicates.has_embeddings(dataset)
    groups = duplicates.alike(dataset)
    assert [[e.inference_id for e in group.entries] for group in groups] == [
        ["0", "1"],
        ["2", "4"],
    ]
    assert duplicates.alike(dataset, distance=1e-7) == []
