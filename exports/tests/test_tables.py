"""OpenInference tables: what else a row says, and what is read meanwhile."""

from __future__ import annotations

import io
import json
import math
from collections import Counter
from datetime import UTC, datetime

import psycopg
import pyarrow as pa
import pyarrow.parquet
import pytest

from exports.formats.open_inference import names, reading
from exports.formats.open_inference.names import ColumnName
from exports.member_sets import SelectedInferences
from exports.tests.conftest import opened
from exports.tests.tables import BOX, FOLDER, TUG, table_of
from inferences.models import InferenceAction, TaskType
from inferences.models.ground_truth import GroundTruth
from inferences.store import removal
from istore import blobs

pytestmark = pytest.mark.django_db(transaction=True)


def test_metadata_are_tags_of_their_types(model, make_inference, exported):
    make_inference(
        {
            "camera": 'Kai ⚓\n"7", x',
            "frame": 2**62,
            "gain": 0.1,
            "pose": {"a": [1, None]},
            "environment": "production",
            "model_version": "1.2/b",
            "conversation_id": "c-1",
        }
    )
    make_inference({"gain": 3})

    archive = opened(exported("open_inference_parquet"))

    (row,) = table_of(archive, "yolo-harbour/1.2%2Fb/production")
    assert row[":tag.str:meta.camera"] == 'Kai ⚓\n"7", x'
    assert row[":tag.int:meta.frame"] == 2**62
    assert row[":tag.float:meta.gain"] == 0.1
    assert json.loads(row[":tag.str:meta.pose"]) == {"a": [1, None]}
    assert row[":tag.str:environment"] == "production"
    assert row[":tag.str:conversation_id"] == "c-1"
    (other,) = table_of(archive, FOLDER)
    assert other[":tag.float:meta.gain"] == 3.0


def test_numbers_without_a_slot_are_exact_too(model, make_inference, exported):
    given_ = {f"key-{n:02}": n for n in range(12)} | {"key-11": -(2**63)}
    given_ |= {f"real-{n:02}": n / 7 for n in range(12)}
    make_inference(given_)

    (row,) = table_of(opened(exported("open_inference_parquet")), FOLDER)

    message = {
        ColumnName.parse(name).name.removeprefix("meta."): value
        for name, value in row.items()
        if ":meta." in name
    }
    assert message == given_


def test_ground_truth_fills_the_actuals(model, answered, exported):
    inference = answered(model, {"object_detection": [BOX]})
    actual = [{"label": "tug", "xmin": 0.0, "ymin": 0.0, "xmax": 1.0, "ymax": 1.0}]
    GroundTruth.objects.create(
        id=inference.id,
        registered_model=model,
        truth={"boxes": actual},
        actor="test",
        set_at=datetime.now(UTC),
    )
    answered(model, {"object_detection": [TUG]})

    with_truth, without = table_of(opened(exported("open_inference_parquet")), FOLDER)

    assert json.loads(with_truth[":tag.text:actual_boxes"]) == actual
    assert without[":tag.text:actual_boxes"] is None


def test_actual_labels_and_values_are_where_the_reader_looks(
    of_task, answered, exported
):
    model = of_task(TaskType.TABULAR_REGRESSION)
    inference = answered(model, {"regression": {"value": 3.5}})
    GroundTruth.objects.create(
        id=inference.id,
        registered_model=model,
        truth={"value": 4.0},
        actor="test",
        set_at=datetime.now(UTC),
    )

    (row,) = table_of(opened(exported("open_inference_parquet", of=model)))

    assert row[":prediction.float.score:prediction_score"] == 3.5
    assert row[":actual.float.score:actual_score"] == 4.0


def test_inputs_shap_values_and_embeddings_have_columns(of_task, answered, exported):
    model = of_task(TaskType.TABULAR_CLASSIFICATION)
    message = [{"label": "yes", "score": 0.75}]
    answered(
        model,
        {
            "classification": message,
            "inputs": {"age": 41, "town": "Hoek\n", "is_new": True, "model_id": "x"},
            "shap_values": {"age": 0.25},
            "embeddings": {"face": [0.5, 1.5], "odd": [1.0]},
        },
        inference_id="a",
    )
    answered(
        model,
        {"classification": message, "embeddings": {"face": [1, 2, 3]}},
        inference_id="b",
    )
    answered(model, {"classification": message, "embeddings": {"face": [1, 2]}})

    rows = table_of(opened(exported("open_inference_parquet", of=model)))

    row = next(row for row in rows if row[":id.id:"] == "a")
    assert row[":feature.float:age"] == 41.0
    assert row[":feature.str:town"] == "Hoek\n"
    assert row[":feature.bool:is_new"] is True
    assert row[":feature.str:model_id~2"] == "x"
    assert row[":tag.float:shap.age"] == 0.25
    assert row[":feature.[float].embedding:face"] == [0.5, 1.5]
    assert not any(name.endswith(":odd") for name in row)
    other = next(row for row in rows if row[":id.id:"] == "b")
    assert other[":feature.[float].embedding:face"] is None


def test_vectors_have_one_length_and_may_be_missing(of_task, answered, exported):
    model = of_task(TaskType.IMAGE_EMBEDDING)
    answered(model, {"embedding": [0.5, -1.5, 2.0]}, data_storage_key="1/1/x/input")
    answered(model, {})

    archive = opened(exported("open_inference_parquet", of=model))

    first, second = table_of(archive)
    column = ":feature.[float].embedding:embedding"
    assert (first[column], second[column]) == ([0.5, -1.5, 2.0], None)
    link = first[":feature.url.link_to_data:embedding"]
    assert link.endswith(
        "/api/v1/projects/harbour/models/m/inferences/inference-1/input"
    )


def test_answers_in_blobs_are_fetched(of_task, make_inference, exported):
    model = of_task(TaskType.TABULAR_REGRESSION)
    blobs.put("1/1/2025/a/answer", b'{"value": 7.5}')
    make_inference(to=model, answer_storage_key="1/1/2025/a/answer")

    (row,) = table_of(opened(exported("open_inference_parquet", of=model)))

    assert row[":prediction.float.score:prediction_score"] == 7.5


def test_what_was_removed_meanwhile_is_listed(
    model, make_inference, exported, monkeypatch
):
    for name in "abc":
        make_inference(inference_id=name)
    fixed = SelectedInferences.fix

    def fix_and_remove(self, task):
        fixed(self, task)
        removal.remove_one("test", model, "b")

    monkeypatch.setattr(SelectedInferences, "fix", fix_and_remove)
    task = exported("open_inference_parquet")

    assert [r[":id.id:"] for r in table_of(opened(task), FOLDER)] == ["a", "c"]
    assert task.receipt["skipped_by_reason"] == {"deleted": 1}


def test_many_batches_are_one_table(model, make_inference, exported, settings):
    settings.ISTORE_EXPORT_ROW_GROUP = 3
    settings.ISTORE_EXPORT_BATCH = 2
    for n in range(10):
        make_inference({"environment": "production" if n % 2 else "training"})

    archive = opened(exported("open_inference_parquet"))

    ids = Counter(
        row[":id.id:"]
        for environment in ("production", "training")
        for row in table_of(archive, f"yolo-harbour/no-version/{environment}")
    )
    assert ids == Counter(f"inference-{n}" for n in range(1, 11))


@pytest.mark.parametrize("step", [1, 2, 7])
def test_dense_and_sparse_batches_are_read_alike(model, make_inference, step):
    for _ in range(22):
        make_inference()
    ids = list(model.inferences.order_by("id").values_list("id", flat=True))[::step]
    name = reading.Source("name", "row.inference_id", pa.string())

    rows = reading.read(model, ids, [name])

    assert rows["id"].to_pylist() == ids
    said = dict(model.inferences.values_list("id", "inference_id"))
    assert rows["name"].to_pylist() == [said[row_id] for row_id in ids]


def test_an_empty_selection_is_a_table_without_rows(model, exported):
    archive = opened(exported("open_inference_parquet"))

    file = io.BytesIO(archive.read(f"{FOLDER}/data.parquet"))
    table = pyarrow.parquet.read_table(file)
    assert table.num_rows == 0
    names.check(table.column_names)


def test_scores_are_those_that_filters_compare(model, make_inference, exported):
    make_inference(detections=[("ship", 0.1), ("tug", None)])

    (row,) = table_of(opened(exported("open_inference_parquet")), FOLDER)

    assert row[":prediction.float.score:prediction_score"] == 0.1
    assert row[":prediction.[float]:prediction_scores"] == [0.1, None]
    assert not math.isnan(row[":prediction.float.score:prediction_score"])


def test_actions_and_sources_are_words(model, make_inference, exported):
    make_inference(
        inference_action=InferenceAction.PREDICT_PROBA, data_source="quay, 3"
    )

    (row,) = table_of(opened(exported("open_inference_parquet")), FOLDER)

    assert row[":tag.str:action"] == "predict_proba"
    assert row[":tag.str:source"] == "quay, 3"


def test_an_error_amid_the_rows_of_a_copy_is_raised(model, make_inference):
    ids = [make_inference({"n": n}, latitude=float(n)).id for n in range(3)]
    inverse = reading.Source("inverse", "1 / (row.latitude - 2)", pa.float64())

    with pytest.raises(psycopg.errors.DivisionByZero):
        reading.read(model, ids, [inverse])

    assert reading.read(model, ids[:2], [inverse])["inverse"].to_pylist() == [-0.5, -1]
