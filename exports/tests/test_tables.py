"""OpenInference tables: names, values, shapes, and foreign readers of every file."""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from datetime import UTC, datetime

import fastavro
import pandas
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exports.formats.open_inference import names, predictions, tables
from exports.formats.open_inference.avro import columns_of
from exports.formats.open_inference.csv import escape, plain
from exports.formats.open_inference.names import ColumnName
from exports.formats.open_inference.schema_json import FIELDS
from exports.formats.open_inference.table_format import safe
from exports.member_sets import SelectedInferences
from exports.tests.conftest import lines_of, opened
from inferences.models import InferenceAction, RegisteredModel, TaskType
from inferences.models.ground_truth import GroundTruth
from inferences.predictions.parse import deconstructed
from inferences.store import removal
from istore import blobs

pytestmark = pytest.mark.django_db(transaction=True)

BOX = {
    "label": "ship",
    "score": 0.9,
    "xmin": 1.0,
    "ymin": 2.0,
    "xmax": 3.5,
    "ymax": 4.0,
}
TUG = {"label": "tug", "score": 0.95, "xmin": 5, "ymin": 6, "xmax": 7, "ymax": 8}
CONTOURS = [[{"x": 1, "y": 2}, {"x": 3, "y": 4}, {"x": 5, "y": 1}]]
FOLDER = "yolo-harbour/no-version/no-environment"

# Of every model type: a part of a record's collection, and what a row must say of it.
ANSWERS = {
    TaskType.OBJECT_DETECTION: ("object_detection", [BOX, TUG], "tug", 0.95),
    TaskType.ORIENTED_OBJECT_DETECTION: (
        "oriented_object_detection",
        [
            {
                "label": "ship",
                "score": 0.5,
                "cx": 0.5,
                "cy": 0.5,
                "w": 0.1,
                "h": 0.2,
                "r": 1.5,
            }
        ],
        "ship",
        0.5,
    ),
    TaskType.IMAGE_SEGMENTATION: (
        "image_segmentation",
        [{"label": "sea", "score": 0.75, "contours": CONTOURS}],
        "sea",
        0.75,
    ),
    TaskType.IMAGE_CLASSIFICATION: (
        "image_classification",
        [{"label": "cat", "score": 0.25}, {"label": "dog", "score": 0.75}],
        "dog",
        0.75,
    ),
    TaskType.TABULAR_CLASSIFICATION: (
        "classification",
        [{"label": "yes", "score": 0.75}, {"label": "no", "score": 0.25}],
        "yes",
        0.75,
    ),
    TaskType.TEXT_CLASSIFICATION: (
        "text_classification",
        [{"label": "spam", "score": 1.0}],
        "spam",
        1.0,
    ),
    TaskType.NAMED_ENTITIES: (
        "named_entities",
        [{"label": "PORT", "start": 3, "end": 9, "score": 0.5}],
        "PORT",
        0.5,
    ),
    TaskType.TABULAR_REGRESSION: (
        "regression",
        {"value": 3.5, "lower": 3.0, "upper": 4.0},
        None,
        3.5,
    ),
    TaskType.RANKING: (
        "ranking",
        [{"item": "a", "score": 0.25}, {"item": "b", "score": 0.5}],
        None,
        None,
    ),
    TaskType.MULTI_OUTPUT: ("multi_output", {"speed": 3.5, "kind": "tug"}, None, None),
    TaskType.TIME_SERIES: (
        "time_series",
        {"values": [1.0, 2.0], "times": ["2026-01-01", "2026-01-02"]},
        None,
        None,
    ),
    TaskType.TEXT_GENERATION: ("text_generation", {"text": "=1+1 is two"}, None, None),
    TaskType.IMAGE_EMBEDDING: ("embedding", [0.5, -1.5, 2.0], None, None),
    TaskType.TEXT_EMBEDDING: ("embedding", [0.5, -1.5, 2.0], None, None),
}
# How many rows the answer above becomes, exploded.
ITEMS = {
    TaskType.OBJECT_DETECTION: 2,
    TaskType.IMAGE_CLASSIFICATION: 2,
    TaskType.TABULAR_CLASSIFICATION: 2,
    TaskType.RANKING: 2,
    TaskType.MULTI_OUTPUT: 2,
    TaskType.TIME_SERIES: 2,
}


@pytest.fixture
def of_task(project):
    """``of_task(TaskType.RANKING)``: a model of that task."""

    def make(task: TaskType, **fields) -> RegisteredModel:
        size = 3 if "Embedding" in task else 0
        return RegisteredModel.objects.create(
            model_id="m",
            project=project,
            task_type=task,
            **{"embedding_size": size, **fields},
        )

    return make


@pytest.fixture
def answered(make_inference):
    """``answered(model, {"ranking": […]}, inference_id="a")``: as a create stores it."""

    def make(model: RegisteredModel, parts: dict, metadata=None, **fields):
        text = json.dumps(parts)
        found = deconstructed(model, text)
        model.refresh_from_db()
        return make_inference(
            metadata,
            to=model,
            data=text,
            detections=found.pairs,
            embedding=found.embedding,
            **fields,
        )

    return make


def table_of(archive, folder: str = "m/no-version/no-environment") -> list[dict]:
    file = io.BytesIO(archive.read(f"{folder}/data.parquet"))
    return pyarrow.parquet.read_table(file).to_pylist()


# -- names


def test_names_are_read_back_as_they_were_written():
    for text in (
        ":id.id:",
        ":timestamp.iso_8601:",
        ":feature.[float].embedding:face",
        ":prediction.float.score:prediction_score",
        ":tag.str:meta.a:b.c",
    ):
        assert str(ColumnName.parse(text)) == text


@given(st.text(min_size=1))
@settings(max_examples=200, deadline=None)
def test_any_key_is_a_name_on_one_line(key):
    name = str(ColumnName("tag", "str", "", f"meta.{key}"))

    assert "\n" not in name and "\x00" not in name
    assert ColumnName.parse(name).name == f"meta.{key}"


@pytest.mark.parametrize(
    "columns",
    [
        [":id.id"],
        ["id"],
        [":score.float:x"],
        [":tag.str.unknown:x"],
        [":tag.[[float]]:x"],
        [":tag.str:x", ":feature.str:x"],
        [":tag.str:x", ":tag.str:x"],
        [":feature.text:prompt"],
        [":tag.str:"],
    ],
)
def test_what_no_reader_takes_is_refused(columns):
    with pytest.raises(ValueError, match=r".+"):
        names.check(columns)


def test_an_embedding_shares_its_name_with_what_it_is_of():
    names.check(
        [
            ":id.id:",
            ":feature.[float].embedding:face",
            ":feature.text.raw_data:face",
            ":feature.url.link_to_data:face",
        ]
    )


# -- every model type, both shapes


@pytest.mark.parametrize("shape", ["flat", "exploded"])
@pytest.mark.parametrize("task", TaskType)
def test_every_model_type_becomes_a_table(task, shape, of_task, answered, exported):
    part, said, label, score = ANSWERS[task]
    model = of_task(task)
    answered(model, {part: said}, inference_id="a")

    archive = opened(
        exported("open_inference_parquet", of=model, options={"shape": shape})
    )

    rows = table_of(archive)
    names.check(rows[0])
    count = ITEMS.get(task, 1) if shape == "exploded" else 1
    assert len(rows) == count
    row = rows[0]
    if shape == "flat":
        assert row[":id.id:"] == "a"
        assert row.get(":prediction.str.label:prediction_label") == label
        assert row.get(":prediction.float.score:prediction_score") == score
    else:
        assert [r[":id.id:"] for r in rows] == [f"a:{n}" for n in range(count)]
        assert {r[":tag.str:inference_id"] for r in rows} == {"a"}
    assert row[":timestamp.iso_8601:"] == datetime(2025, 6, 1, tzinfo=UTC)
    assert row[":tag.str:model_id"] == "m"


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

    if quick is not None:
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


# -- metadata, ground truth, what stands beside an answer


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

    said = {
        ColumnName.parse(name).name.removeprefix("meta."): value
        for name, value in row.items()
        if ":meta." in name
    }
    assert said == given_


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
    said = [{"label": "yes", "score": 0.75}]
    answered(
        model,
        {
            "classification": said,
            "inputs": {"age": 41, "town": "Hoek\n", "is_new": True, "model_id": "x"},
            "shap_values": {"age": 0.25},
            "embeddings": {"face": [0.5, 1.5], "odd": [1.0]},
        },
        inference_id="a",
    )
    answered(
        model,
        {"classification": said, "embeddings": {"face": [1, 2, 3]}},
        inference_id="b",
    )
    answered(model, {"classification": said, "embeddings": {"face": [1, 2]}})

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


def test_prompts_of_text_models_are_their_inputs(of_task, answered, exported):
    model = of_task(TaskType.TEXT_GENERATION)
    blobs.put("1/1/2025/a/input", "Write of ships ⚓".encode())
    answered(
        model,
        {"text_generation": {"text": "Ships."}},
        data_storage_key="1/1/2025/a/input",
        data_content_type="text/plain",
    )

    (row,) = table_of(opened(exported("open_inference_parquet", of=model)))

    assert row[":feature.text:prompt_text"] == "Write of ships ⚓"
    assert row[":tag.text:response_text"] == "Ships."


PROMPTS = {
    "a long one": (b"long " * 100_000, "long " * 100_000),
    "a chat": (
        json.dumps(
            {
                "messages": [
                    {"role": "system", "content": "Be brief."},
                    {"role": "user", "content": [{"type": "text", "text": "Ships?"}]},
                ]
            }
        ).encode(),
        "system: Be brief.\n\nuser: Ships?",
    ),
    "a completion": (b'{"prompt": "Ships?", "max_tokens": 3}', "Ships?"),
    "a tensor": (
        b'{"name": "x", "datatype": "BYTES", "shape": [1], "data": ["Ships?"]}',
        "Ships?",
    ),
}


@pytest.mark.parametrize("name", PROMPTS)
def test_prompts_are_read_as_people_would(name, of_task, answered, exported):
    content, prompt = PROMPTS[name]
    model = of_task(TaskType.TEXT_GENERATION)
    blobs.put("1/1/2025/a/input", content)
    answered(
        model,
        {"text_generation": {"text": "Ships."}},
        data_storage_key="1/1/2025/a/input",
        data_content_type="application/json",
    )

    task = exported("open_inference_parquet", of=model)

    (row,) = table_of(opened(task))
    assert row[":feature.text:prompt_text"] == prompt
    assert task.receipt["warnings"] == []


def test_a_prompt_too_long_for_a_table_is_told(
    of_task, answered, exported, monkeypatch
):
    monkeypatch.setattr(tables, "PROMPT_MAX_BYTES", 10)
    model = of_task(TaskType.TEXT_GENERATION)
    blobs.put("1/1/2025/a/input", b"more than ten bytes")
    answered(model, {"text_generation": "x"}, data_storage_key="1/1/2025/a/input")

    task = exported("open_inference_parquet", of=model)

    assert table_of(opened(task))[0][":feature.text:prompt_text"] is None
    assert [each["code"] for each in task.receipt["warnings"]] == ["long-prompt"]


def test_the_named_input_text_is_the_prompt(of_task, answered, exported):
    model = of_task(TaskType.TEXT_GENERATION)
    answered(model, {"text_generation": "Ships.", "inputs": {"text": "100% of?"}})

    (row,) = table_of(opened(exported("open_inference_parquet", of=model)))

    assert row[":feature.text:prompt_text"] == "100% of?"


def test_a_chat_that_only_calls_tools_has_a_response(of_task, make_inference, exported):
    model = of_task(TaskType.TEXT_GENERATION)
    call = {"type": "function", "function": {"name": "weather", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    make_inference(to=model, data=json.dumps({"choices": [{"message": message}]}))

    (row,) = table_of(opened(exported("open_inference_parquet", of=model)))
    (example,) = lines_of(
        opened(exported("phoenix_jsonl", of=model)),
        "m/no-version/no-environment/data.jsonl",
    )

    assert row[":tag.text:response_text"] == "weather({})"
    assert example["outputs"]["response_text"] == "weather({})"


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


def test_an_empty_selection_is_a_table_without_rows(model, exported):
    archive = opened(exported("open_inference_parquet"))

    file = io.BytesIO(archive.read(f"{FOLDER}/data.parquet"))
    table = pyarrow.parquet.read_table(file)
    assert table.num_rows == 0
    names.check(table.column_names)


def test_names_of_folders_are_safe():
    assert safe("a/b\\c:d") == "a%2Fb%5Cc%3Ad"
    assert safe("..") == "%2E%2E"


# -- the same rows by every reader


@pytest.fixture
def varied(model, answered):
    answered(
        model,
        {"object_detection": [BOX, TUG]},
        {"camera": '=HYPERLINK("x")', "note": "'quoted", "gain": -1.5, "frame": -7},
        inference_id="+1",
        data_source="",
    )
    answered(
        model,
        {"object_detection": []},
        {"camera": "", "note": 'line\nbreak, "q" ⚓', "gain": 1e300},
        inference_id="b",
    )
    return model


@pytest.fixture
def expected(varied, exported):
    return table_of(opened(exported("open_inference_parquet")), FOLDER)


def test_parquet_says_what_it_is_of(varied, exported):
    archive = opened(exported("open_inference_parquet"))

    file = io.BytesIO(archive.read(f"{FOLDER}/data.parquet"))
    about = pyarrow.parquet.read_metadata(file).metadata
    assert about[b"istore.model_id"] == b"yolo-harbour"
    assert about[b"istore.task_type"] == b"Object Detection"
    frame = pandas.read_parquet(file)
    assert frame[":timestamp.iso_8601:"].dt.tz is not None
    assert list(frame[":id.id:"]) == ["+1", "b"]


def test_avro_has_the_same_rows(varied, expected, exported):
    archive = opened(exported("open_inference_avro"))

    reader = fastavro.reader(io.BytesIO(archive.read(f"{FOLDER}/data.avro")))
    columns = columns_of(reader.writer_schema)
    rows = [{columns[name]: value for name, value in row.items()} for row in reader]
    assert rows == expected
    assert reader.metadata["istore.model_id"] == "yolo-harbour"


def test_json_lines_have_the_same_rows(varied, expected, exported):
    archive = opened(exported("open_inference_jsonl"))

    rows = lines_of(archive, f"{FOLDER}/data.jsonl")
    for row in rows:
        row[":timestamp.iso_8601:"] = datetime.fromisoformat(
            row[":timestamp.iso_8601:"]
        )
    assert rows == expected
    frame = pandas.read_json(
        io.BytesIO(archive.read(f"{FOLDER}/data.jsonl")), lines=True
    )
    assert len(frame) == 2


def test_csv_has_the_same_rows_and_no_formula(varied, expected, exported):
    archive = opened(exported("open_inference_csv"))

    text = archive.read(f"{FOLDER}/data.csv").decode()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    for row in rows:
        for name, cell in row.items():
            is_number = ColumnName.parse(name).type in ("float", "int")
            assert is_number or cell[:1] not in tuple("=+-@\t\r") or not cell
    assert [_values(row) for row in rows] == expected
    assert len(pandas.read_csv(io.StringIO(text))) == 2


def _values(row: dict[str, str]) -> dict[str, object]:
    """A row of CSV by the rules of docs/tables.md."""

    def value(name: str, cell: str) -> object:
        kind = ColumnName.parse(name).type
        if cell == "":
            return None
        if kind == "int":
            return int(cell)
        if kind == "float":
            return float(cell)
        if kind == "bool":
            return cell == "true"
        if kind == "iso_8601":
            return datetime.fromisoformat(cell)
        return json.loads(cell) if kind.startswith("[") else plain(cell)

    return {name: value(name, cell) for name, cell in row.items()}


def test_phoenix_datasets_have_inputs_outputs_and_metadata(varied, exported):
    archive = opened(exported("phoenix_jsonl"))

    first, second = lines_of(archive, f"{FOLDER}/data.jsonl")
    assert first.keys() == {"inputs", "outputs", "metadata", "splits"}
    assert first["outputs"]["prediction_label"] == "tug"
    assert first["metadata"]["id"] == "+1"
    assert first["metadata"]["meta.gain"] == -1.5
    assert second["splits"] == []


def test_the_environment_is_the_split_of_a_phoenix_dataset(
    model, make_inference, exported
):
    make_inference({"environment": "validation"})

    archive = opened(exported("phoenix_jsonl"))

    (line,) = lines_of(archive, "yolo-harbour/no-version/validation/data.jsonl")
    assert line["splits"] == ["validation"]


@pytest.mark.parametrize("format_", ["parquet", "avro", "csv", "jsonl"])
def test_a_schema_lies_beside_every_table(format_, varied, exported):
    archive = opened(exported(f"open_inference_{format_}"))

    said = json.loads(archive.read(f"{FOLDER}/schema.json"))
    assert set(said) == set(FIELDS)
    assert said["prediction_id_column_name"] == ":id.id:"
    assert (
        said["prediction_label_column_name"] == ":prediction.str.label:prediction_label"
    )
    assert ":tag.str:meta.camera" in said["tag_column_names"]


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


FORMULAS = ["=1", "\n=1", "\t=1", "\r\n@a", " =1", "\u3000=1", "\u200b=1", "\ufeff+1"]
FORMULAS += [
    "\xa0-1",
    "\uff1d1",
    "\uff0b1",
    "\uff0d1",
    "\uff20a",
    " \uff1d1",
    "\x00=1",
    "\x85=1",
    "\u2028=1",
]


@pytest.mark.parametrize("text", [*FORMULAS, "'a", "", "\n", "\tx"])
def test_what_a_spreadsheet_could_run_is_text(text):
    (cell,) = escape(pa.array([text])).to_pylist()

    assert cell == f"'{text}"
    assert plain(cell) == text


@given(st.text())
def test_cells_of_a_spreadsheet_stand_for_their_text(text):
    (cell,) = escape(pa.array([text])).to_pylist()

    assert plain(cell or "'") == text
    assert (cell or "").lstrip()[:1] not in tuple("=+-@\uff1d\uff0b\uff0d\uff20")
