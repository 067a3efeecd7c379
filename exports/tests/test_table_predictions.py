"""The predictions of every model type in OpenInference tables, flat and exploded."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from exports.formats.open_inference import names, predictions
from exports.tests.conftest import opened
from exports.tests.tables import ANSWERS, BOX, FOLDER, ITEMS, TUG, table_of
from inferences.models import RegisteredModel, TaskType
from inferences.predictions.parse import deconstructed

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def rows_of(of_task, answered, exported):
    """The rows of one answer of a model type, in one shape."""

    def rows(task, shape):
        part, items, *_ = ANSWERS[task]
        model = of_task(task)
        answered(model, {part: items}, inference_id="a")
        options = {"shape": shape}
        rows = table_of(
            opened(exported("open_inference_parquet", of=model, options=options))
        )
        names.check(rows[0])
        assert {row[":timestamp.iso_8601:"] for row in rows} == {
            datetime(2025, 6, 1, tzinfo=UTC)
        }
        assert {row[":tag.str:model_id"] for row in rows} == {"m"}
        return rows

    return rows


@pytest.mark.parametrize("task", TaskType)
def test_an_answer_of_every_model_type_is_one_flat_row(task, rows_of):
    _, _, label, score = ANSWERS[task]

    (row,) = rows_of(task, "flat")

    assert row[":id.id:"] == "a"
    assert row.get(":prediction.str.label:prediction_label") == label
    assert row.get(":prediction.float.score:prediction_score") == score


@pytest.mark.parametrize("task", TaskType)
def test_an_answer_of_every_model_type_is_exploded_into_its_items(task, rows_of):
    rows = rows_of(task, "exploded")

    count = ITEMS.get(task, 1)
    assert [row[":id.id:"] for row in rows] == [f"a:{n}" for n in range(count)]
    assert {row[":tag.str:inference_id"] for row in rows} == {"a"}


def test_flat_boxes_are_json_text_with_the_best_first(model, answered, exported):
    answered(model, {"object_detection": [BOX, TUG]})

    (row,) = table_of(opened(exported("open_inference_parquet")), FOLDER)

    assert json.loads(row[":tag.text:prediction_boxes"]) == [TUG, BOX]
    assert row[":prediction.[str]:prediction_labels"] == ["tug", "ship"]
    assert row[":prediction.[float]:prediction_scores"] == [0.95, 0.9]


def test_an_exploded_row_holds_one_box_and_what_all_have(model, answered, exported):
    answered(
        model,
        {"object_detection": [BOX, TUG]},
        {"camera": "north"},
        inference_id="a",
    )

    options = {"shape": "exploded"}
    first, second = table_of(
        opened(exported("open_inference_parquet", options=options)), FOLDER
    )

    assert (first[":id.id:"], second[":id.id:"]) == ("a:0", "a:1")
    assert first[":prediction.str.label:prediction_label"] == "tug"
    assert json.loads(second[":tag.text:prediction_box"]) == BOX
    assert second[":tag.int:item"] == 1
    assert second[":tag.str:meta.camera"] == "north"


def test_rows_without_a_finding_are_counted_when_exploded(
    model, answered, make_inference, exported
):
    answered(model, {"object_detection": [BOX]}, inference_id="found")
    answered(model, {"object_detection": []}, inference_id="empty")
    make_inference(inference_id="unread", data="?!")

    task = exported("open_inference_parquet", options={"shape": "exploded"})

    assert [r[":tag.str:inference_id"] for r in table_of(opened(task), FOLDER)] == [
        "found"
    ]
    assert task.receipt["skipped_by_reason"] == {
        "nothing-found": 1,
        "not-understood": 1,
    }
    assert task.receipt["written"] == 1


def test_nothing_found_is_a_row_when_flat(model, answered, exported):
    answered(model, {"object_detection": []})

    (row,) = table_of(opened(exported("open_inference_parquet")), FOLDER)

    assert row[":prediction.str.label:prediction_label"] is None
    assert row[":prediction.[str]:prediction_labels"] == []


LABELS = st.text(min_size=1, max_size=5)

# Squared they are still numbers that four bytes hold.
NUMBERS = st.floats(-1e6, 1e6).filter(lambda x: x == 0 or abs(x) > 1e-15)


def test_ordinary_boxes_are_read_the_quick_way():
    low = {
        "label": "b",
        "score": 0.2,
        "xmin": 0.0,
        "ymin": 1.0,
        "xmax": 2.5,
        "ymax": 3.0,
    }
    high = {**low, "label": "a", "score": 0.9}
    text = json.dumps({"object_detection": [low, high]})
    assert predictions.quick_boxes(text) == [high, low]


@given(st.lists(st.tuples(LABELS, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS)))
@settings(max_examples=150, deadline=None)
def test_boxes_in_the_form_of_the_api_are_read_as_any_others(rows):
    boxes = [
        dict(
            zip(
                predictions.MEMBERS,
                (label, score, x, y, x + w * w, y + h * h),
                strict=True,
            )
        )
        for label, score, x, y, w, h in rows
    ]
    text = json.dumps({"object_detection": boxes})
    quick = predictions.quick_boxes(text)
    model = RegisteredModel(task_type=TaskType.OBJECT_DETECTION)

    slow = predictions.prediction_of(model.task_type, deconstructed(model, text))

    assume(quick is not None)
    assert quick == json.loads(slow.get("boxes", "[]"))


@pytest.mark.parametrize(
    "text",
    [
        '{"object_detection": [{"label": "a", "score": 1.0}]}',
        '{"object_detection": [{"label": 7, "score": 0.5, "xmin": 0.0, "ymin": 0.0,'
        ' "xmax": 1.0, "ymax": 1.0}]}',
        '{"object_detection": [], "embedding": [1, 2]}',
        '{"object_detection": {"label": "a"}}',
        "[]",
        "7",
        "nothing",
    ],
)
def test_other_answers_are_left_to_the_readers(text):
    assert not predictions.quick_boxes(text)


def test_forecasts_keep_their_bands_and_history(of_task, answered, exported):
    model = of_task(TaskType.TIME_SERIES)
    series = {"values": [3, 4], "lower": [2, 3], "upper": [4, 5], "history": [1, 2, 3]}
    answered(model, {"time_series": series})

    (row,) = table_of(opened(exported("open_inference_parquet", of=model)))
    steps = table_of(
        opened(
            exported("open_inference_parquet", of=model, options={"shape": "exploded"})
        )
    )

    assert row[":prediction.[float]:prediction_series"] == [3, 4]
    assert row[":prediction.[float]:prediction_lower"] == [2, 3]
    assert row[":prediction.[float]:prediction_upper"] == [4, 5]
    assert row[":prediction.[float]:prediction_history"] == [1, 2, 3]
    assert [json.loads(each[":tag.text:prediction_step"]) for each in steps] == [
        {"time": None, "value": 3, "lower": 2, "upper": 4},
        {"time": None, "value": 4, "lower": 3, "upper": 5},
    ]


def test_nothing_found_is_an_empty_list_in_every_column(model, answered, exported):
    answered(model, {"object_detection": []})

    (row,) = table_of(opened(exported("open_inference_parquet")), FOLDER)

    assert row[":tag.text:prediction_boxes"] == "[]"
