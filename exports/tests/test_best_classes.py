"""Annotations of a classifier are its best class; tables and NDJSON have the distribution."""

from __future__ import annotations

import io

import pytest
from django.core.management import call_command

from exports.tests.conftest import lines_of, opened, png
from exports.tests.tables import table_of
from inferences.models import RegisteredModel, TaskType
from inferences.store import class_migration
from inferences.tests.builders import as_before

SAID = [
    {"label": "car", "score": 0.1},
    {"label": "truck", "score": 0.45},
    {"label": "bus", "score": 0.45},
]
PAIRS = [(each["label"], pytest.approx(each["score"])) for each in SAID]


@pytest.fixture
def classifier(project) -> RegisteredModel:
    return RegisteredModel.objects.create(
        model_id="vehicles", project=project, task_type=TaskType.IMAGE_CLASSIFICATION
    )


@pytest.fixture
def stored(classifier, make_stored):
    return make_stored(
        png(), SAID, "image_classification", to=classifier, inference_id="a"
    )


WITH_ANNOTATIONS = {"include_inferences_as_annotations": True}


def test_annotations_are_the_best_class(stored, classifier, exported):
    task = exported("chariot", of=classifier, options=WITH_ANNOTATIONS)
    (line,) = lines_of(opened(task), "annotations.jsonl")
    assert line["annotations"] == [{"class_label": "truck", "score": 0.45}]

    task = exported("label_studio", of=classifier)
    answer = opened(task).read("tasks.json").decode()
    assert "truck" in answer
    assert "bus" not in answer


@pytest.mark.parametrize("is_old", [False, True])
def test_ndjson_goes_there_and_back(stored, classifier, exported, tmp_path, is_old):
    if is_old:  # an archive of before: the distribution as detections
        as_before(classifier)
    archive = opened(exported("ndjson", of=classifier))
    (line,) = lines_of(archive, "inferences.ndjson")
    if is_old:
        assert "probabilities" not in line
        class_migration.tell_apart(classifier)
    else:
        (found,) = line["detections"]
        assert (found["label"], found["score"]) == ("truck", pytest.approx(0.45))
        pairs = [(each["label"], each["score"]) for each in line["probabilities"]]
        assert pairs == PAIRS

    another = RegisteredModel.objects.create(
        model_id="another",
        project=classifier.project,
        task_type=TaskType.IMAGE_CLASSIFICATION,
    )
    archive.extractall(tmp_path)
    path = str(tmp_path / "inferences.ndjson")
    call_command("import_inferences", "another", path, stdout=io.StringIO())
    (row,), (first,) = another.inferences.all(), classifier.inferences.all()
    assert row.scores == first.scores
    assert row.probabilities == first.probabilities
    assert (len(row.labels), len(row.classes)) == (1, 3)
    assert row.classes.index(row.labels[0]) == 1


@pytest.mark.django_db(transaction=True)  # tables are read by a thread
def test_tables_have_the_best_class_and_the_distribution(stored, classifier, exported):
    archive = opened(exported("open_inference_parquet", of=classifier))
    (row,) = table_of(archive, "vehicles/no-version/no-environment")
    found = {
        name: value
        for name in ("label", "score", "labels", "scores")
        for key, value in row.items()
        if key.endswith((f":prediction_{name}", f".prediction_{name}"))
    }
    assert found["label"] == "truck"
    assert found["score"] == pytest.approx(0.45)
    assert found["labels"] == ["truck", "bus", "car"]
    assert found["scores"] == [pytest.approx(each) for each in (0.45, 0.45, 0.1)]
