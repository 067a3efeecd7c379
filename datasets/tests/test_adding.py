"""Selections become entries that stay as they were added."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from importlib import import_module

import pytest
from django.apps import apps

from datasets import adding, lifecycle, shared_blobs, summary
from datasets.models import AddingTask, Dataset, DatasetBlob, DatasetEntry
from datasets.tests.conftest import names
from exports.tests.conftest import png
from inferences.ground_truth.writes import Given, write
from inferences.models import RegisteredModel, TaskType
from inferences.store import metadata_edits, removal
from inferences.tests.builders import typed
from istore import blobs
from istore.blobs import packs
from istore.blobs.keys import DATASETS
from istore.db.clock import now
from istore.errors import Conflict
from istore.failpoints import Failure, arm

SHIP = {"label": "ship", "score": 0.9, "xmin": 1, "ymin": 2, "xmax": 30, "ymax": 40}


def objects() -> set[str]:
    """The keys of all that is kept: of packs those of their live members."""
    return {key for each in blobs.walk(DATASETS) for key in kept_in(each.key)}


def kept_in(key: str) -> set[str]:
    if not packs.is_pack(key):
        return {key}
    members = (each.content_key(key) for each in packs.live_members(key))
    return {each for each in members if not packs.is_released(each)}


def packs_of(keys) -> set[str]:
    return set(map(packs.pack_of, keys))


def test_entries_hold_what_the_inference_held(make_stored, add, dataset, model):
    picture = png()
    make_stored(picture, [SHIP], inference_id="a", metadata=())
    task = add()
    assert (task.state, task.counts["added"]) == ("complete", 1)
    (entry,) = dataset.entries.all()
    assert (entry.model_id, entry.inference_id) == (model.model_id, "a")
    assert entry.labels == ["ship"]
    assert bytes(entry.data_hash) == hashlib.sha256(picture).digest()
    assert blobs.get(entry.blob.storage_key) == picture
    dataset.refresh_from_db()
    assert dataset.task_type == model.task_type


def test_entries_stay_when_their_inferences_go(make_stored, add, dataset, model):
    make_stored(png(), [SHIP], inference_id="a")
    add()
    removal.remove_one("test", model, "a")
    (entry,) = dataset.entries.select_related("blob")
    assert blobs.get(entry.blob.storage_key) == png()


def test_equal_inputs_are_stored_once_and_counted(make_stored, add, dataset):
    for name in "abc":
        make_stored(png(), [SHIP], inference_id=name)
    make_stored(png(9, 9), [], inference_id="d")
    task = add()
    assert (task.counts["added"], task.counts["duplicates"]) == (4, 2)
    assert len(objects()) == DatasetBlob.objects.count() == 2


def test_duplicates_are_skipped_when_asked(make_stored, add, dataset):
    for name in "abc":
        make_stored(png(), [SHIP], inference_id=name)
    task = add(skip_duplicates=True)
    assert (task.counts["added"], task.counts["skipped_duplicates"]) == (1, 2)
    assert names(dataset.entries) == ["a"]


def test_added_again_an_inference_changes_nothing_unless_it_changed(
    make_stored, add, dataset, model
):
    make_stored(png(), [SHIP], inference_id="a")
    add()
    assert add().counts["unchanged"] == 1
    metadata_edits.put_value("test", model, "a", typed("reviewed", 1), replace=False)
    assert add().counts["updated"] == 1
    (entry,) = dataset.entries.current()
    assert entry.metadata["reviewed"] == ["int", "1"]


def test_a_published_version_keeps_what_later_changes(make_stored, add, dataset):
    make_stored(png(), [SHIP], inference_id="a")
    make_stored(png(5, 5), [SHIP], inference_id="b")
    add()
    first = lifecycle.publish("test", dataset)
    dataset = Dataset.objects.get(pk=dataset.pk)
    gone = dataset.entries.get(inference_id="a")
    lifecycle.remove_entries("test", dataset, [gone.pk])
    make_stored(png(6, 6), [SHIP], inference_id="c")
    add({"include_inference_ids": ["c"], "only_included": True})
    assert names(dataset.entries_of(first.number)) == ["a", "b"]
    assert names(dataset.entries_of(dataset.working)) == ["b", "c"]
    assert first.summary["entries"] == 2
    shared_blobs.collect()
    assert len(objects()) == 3


def test_inputs_go_with_the_last_entry_that_needs_them(
    make_stored, add, dataset, project
):
    make_stored(png(), [SHIP], inference_id="a")
    other = lifecycle.create("test", project, "other")
    add()
    add(to=other)
    lifecycle.remove_entries("test", dataset, [dataset.entries.get().pk])
    shared_blobs.collect()
    assert len(objects()) == 1
    lifecycle.delete("test", other)
    lifecycle.finish_deletions()
    shared_blobs.collect()
    assert objects() == set()
    assert not DatasetBlob.objects.exists()


def test_a_model_of_another_task_is_refused(make_stored, add, dataset, project):
    make_stored(png(), [SHIP])
    add()
    other = RegisteredModel.objects.create(
        model_id="faces", project=project, task_type="Image Classification"
    )
    with pytest.raises(Conflict):
        add(of=other)


@pytest.mark.parametrize("step", ["datasets.inputs_marked", "datasets.inputs_removed"])
def test_a_collection_of_inputs_that_breaks_off_is_finished_by_the_next(
    make_stored, add, dataset, step
):
    make_stored(png(), [SHIP], inference_id="a")
    add()
    lifecycle.remove_entries("test", dataset, [dataset.entries.get().pk])
    arm(f"{step}=raise")
    try:
        with pytest.raises(Failure):
            shared_blobs.collect()
    finally:
        arm("")
    assert shared_blobs.collect() == 1
    assert objects() == set()
    assert not DatasetBlob.objects.exists()


STEPS = [
    "datasets.claimed",
    "datasets.set_fixed",
    "datasets.input_put",
    "datasets.batch_added",
]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.django_db(transaction=True)
def test_broken_off_anywhere_the_next_attempt_adds_each_once(
    make_stored, dataset, model, settings, step
):
    settings.ISTORE_EXPORT_BATCH = 2
    for number in range(5):
        make_stored(png(number + 1, 4), [SHIP], inference_id=f"i{number}")
    task = AddingTask.objects.create(
        dataset=dataset, model=model, created_by="test", selection={}
    )
    arm(f"{step}:1=raise")
    try:
        with suppress(Failure):
            adding.carry_out(task)
    finally:
        arm("")
    task = AddingTask.objects.get(pk=task.pk)
    assert task.state == "running"
    AddingTask.objects.filter(pk=task.pk).update(lease_until="2020-01-01T00:00Z")
    adding.carry_out(task)
    assert task.state == "complete"
    assert names(dataset.entries) == [f"i{number}" for number in range(5)]
    assert task.counts["added"] == 5
    named = set(DatasetBlob.objects.values_list("storage_key", flat=True))
    assert named <= objects()
    orphaned = packs_of(objects()) - packs_of(named)
    assert len(orphaned) == (step == "datasets.input_put")
    assert DatasetEntry.objects.filter(blob=None).count() == 0


CLASSES = [{"label": "boat", "score": 0.2}, {"label": "ship", "score": 0.8}]


def test_an_entry_of_a_classifier_is_labelled_by_the_best_class(
    make_stored, add, dataset, classifier
):
    for name in "abc":
        make_stored(
            png(), CLASSES, "image_classification", to=classifier, inference_id=name
        )
    truth = {"labels": ["boat", "buoy"]}
    write(classifier, {classifier.inferences.get(inference_id="c").id: told(truth)})
    add(of=classifier)

    labels = dict(dataset.entries.values_list("inference_id", "labels"))
    assert labels == {"a": ["ship"], "b": ["ship"], "c": ["boat", "buoy"]}
    counted = summary.labels(dataset.entries_of(dataset.working))
    assert counted == {"ship": 2, "boat": 1, "buoy": 1}


def test_entries_of_before_are_labelled_by_the_best_class_when_the_store_migrates(
    make_stored, add, dataset, classifier
):
    for name in "ab":
        make_stored(
            png(), CLASSES, "image_classification", to=classifier, inference_id=name
        )
    truth = {"labels": ["boat", "buoy"]}
    write(classifier, {classifier.inferences.get(inference_id="b").id: told(truth)})
    add(of=classifier)
    dataset.entries.filter(inference_id="a").update(labels=["boat", "ship"])

    migration = import_module("datasets.migrations.0003_label_by_best_class")
    for _ in range(2):
        migration.label_again(apps, None)
        labels = dict(dataset.entries.values_list("inference_id", "labels"))
        assert labels == {"a": ["ship"], "b": ["boat", "buoy"]}


@pytest.fixture
def classifier(project) -> RegisteredModel:
    return RegisteredModel.objects.create(
        model_id="vessels", project=project, task_type=TaskType.IMAGE_CLASSIFICATION
    )


def told(truth) -> Given:
    return Given(truth, "test", now())
