"""A batch of any type of model is as many inferences, where nothing else can be meant."""

from __future__ import annotations

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferences.predictions.parse import deconstruct
from protocols.open_inference import (
    count_parts,
    is_in_parts,
    metadata_items,
    read_request,
    read_response,
    slices_of,
    split,
)
from protocols.open_inference.rows import Form, count_rows

TEXTS = ["The quay is wet.", "No ship.", "aGVsbG8="]


def tensor(name, shape, data, datatype="FP32", **parameters):
    value = {"name": name, "datatype": datatype, "shape": shape, "data": data}
    return value | ({"parameters": parameters} if parameters else {})


def parts_of(*inputs, task_type, **parameters):
    body = {"inputs": list(inputs), "parameters": parameters}
    request = read_request(orjson.dumps(body))
    found = split(request, task_type)
    assert count_parts(request, task_type) == len(found)
    return found


@pytest.mark.parametrize("shape", [[3], [3, 1]])
@pytest.mark.parametrize(
    "task_type",
    [
        "Text Classification",
        "Text Embedding",
        "Text Generation",
        "Named Entity Recognition",
    ],
)
def test_a_text_of_a_batch_is_kept_as_it_is(task_type, shape):
    found = parts_of(tensor("text", shape, TEXTS, "BYTES"), task_type=task_type)

    assert [each.data.decode() for each in found] == TEXTS
    assert {each.content_type for each in found} == {"text/plain; charset=utf-8"}
    assert [(each.index, each.count, each.tensor.shape[0]) for each in found] == [
        (n, 3, 1) for n in range(3)
    ]


@pytest.mark.parametrize(
    "task_type", ["Tabular Classification", "Tabular Regression", "Multi-Output"]
)
def test_a_row_of_numbers_is_as_it_would_be_alone(task_type):
    rows = [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]]
    found = parts_of(tensor("x", [3, 4], rows), task_type=task_type)

    alone = [parts_of(tensor("x", [1, 4], row), task_type=task_type)[0] for row in rows]
    assert [each.data for each in found] == [each.data for each in alone]
    assert orjson.loads(found[1].data)["data"] == rows[1]


@pytest.mark.parametrize("shape", [[3], [3, 1]])
@pytest.mark.parametrize("parameters", [{}, {"content_type": "pd"}])
def test_a_row_of_columns_is_an_object_by_their_names(shape, parameters):
    found = parts_of(
        tensor("age", shape, [31, None, 33], "FP64"),
        tensor("city", shape, ["Oslo", "Kyiv", "Øya"], "BYTES", content_type="str"),
        tensor("count", shape, [1, 2, 3], "INT64"),
        task_type="Tabular Classification",
        **parameters,
    )

    assert [orjson.loads(each.data) for each in found] == [
        {"age": 31, "city": "Oslo", "count": 1},
        {"age": None, "city": "Kyiv", "count": 2},
        {"age": 33, "city": "Øya", "count": 3},
    ]
    assert [each.name for each in found[0].tensors] == ["age", "city", "count"]


def test_a_row_of_a_frame_is_the_same_alone():
    frame = {"task_type": "Tabular Regression", "content_type": "pd"}
    several = parts_of(
        tensor("a", [2, 1], [1, 2]), tensor("b", [2, 1], [3, 4]), **frame
    )
    (alone,) = parts_of(tensor("a", [1, 1], [2]), tensor("b", [1, 1], [4]), **frame)

    assert several[1].data == alone.data == b'{"a":2,"b":4}'


def test_the_only_column_of_a_frame_has_rows():
    found = parts_of(
        tensor("a", [2], [1, 2]), task_type="Tabular Regression", content_type="pd"
    )

    assert [each.data for each in found] == [b'{"a":1}', b'{"a":2}']


def test_raw_tensors_are_rows_too():
    values = np.arange(6, dtype="<f4").tobytes()
    head = {"name": "x", "datatype": "FP32", "shape": [2, 3]}
    head |= {"parameters": {"binary_data_size": len(values)}}
    header = orjson.dumps({"inputs": [head]})
    found = split(read_request(header + values, len(header)), "Tabular Regression")

    assert [orjson.loads(each.data)["data"] for each in found] == [
        [0, 1, 2],
        [3, 4, 5],
    ]


def test_question_and_context_go_together():
    found = parts_of(
        tensor("question", [2, 1], ["Who?", "Where?"], "BYTES"),
        tensor("context", [2, 1], ["Ada", "Oslo"], "BYTES"),
        task_type="Text Generation",
    )

    assert orjson.loads(found[1].data) == {"question": "Where?", "context": "Oslo"}


@pytest.mark.parametrize(
    ("task_type", "forms", "count"),
    [
        # One may be one row of three features, or three rows of one.
        ("Tabular Classification", [("FP32", (3,))], 1),
        ("Tabular Classification", [("FP32", (1, 3))], 1),
        ("Tabular Classification", [("FP32", (3,)), ("FP32", (2,))], 1),
        ("Tabular Classification", [("FP32", (3, 2)), ("BYTES", (3, 1))], 3),
        # Tokens of one sentence.
        ("Text Classification", [("INT64", (12,)), ("INT64", (12,))], 1),
        ("Text Classification", [("INT64", (3, 12)), ("INT64", (3, 12))], 3),
        # Lines of one picture, or its colours.
        ("Image Classification", [("FP32", (28, 28))], 1),
        ("Image Classification", [("UINT8", (28, 28, 3))], 1),
        ("Image Segmentation", [("UINT8", (4, 28, 28, 3))], 4),
        ("Object Detection", [("FP32", (1, 3, 640, 640))], 1),
        ("Object Detection", [("BYTES", (2,))], 2),
        # What these are asked is one thing, however long it is.
        ("Time Series", [("FP32", (3, 4))], 1),
        ("Time Series", [("FP32", (3,))], 1),
        ("Ranking", [("BYTES", (3,))], 1),
        ("", [("FP32", (3, 4))], 1),
        ("Text Classification", [("BYTES", ())], 1),
        ("Text Classification", [("BYTES", (0,))], 1),
        ("Text Classification", [("BYTES", (-1,))], 1),
        ("Text Classification", [], 1),
    ],
)
def test_what_may_be_one_input_is_one(task_type, forms, count):
    forms = [Form(*each) for each in forms]
    assert count_rows(forms, {}, task_type) == count


def test_values_that_do_not_fill_the_shape_are_one_input():
    request = read_request(
        orjson.dumps({"inputs": [tensor("x", [3, 4], [1] * 11)]}),
    )
    assert count_parts(request, "Tabular Regression") == 1


@pytest.mark.parametrize("written", [False, True])
@pytest.mark.parametrize("holder", ["request", "input"])
@pytest.mark.parametrize(
    "metadata",
    [
        [{"camera": "a"}, {"camera": "b"}],
        [
            [{"key": "camera", "type": "string", "value": "a"}],
            [{"key": "camera", "type": "string", "value": "b"}],
        ],
    ],
)
def test_metadata_of_as_many_lists_is_each_rows_own(metadata, holder, written):
    given = orjson.dumps(metadata).decode() if written else metadata
    on_input = {"metadata": given} if holder == "input" else {}
    on_request = {"metadata": given} if holder == "request" else {}
    found = parts_of(
        tensor("x", [2], ["a", "b"], "BYTES", **on_input),
        task_type="Text Classification",
        **on_request,
    )

    said = [metadata_items(each.parameters) for each in found]
    assert [items[0]["value"] for items, _ in said] == ["a", "b"]
    assert not any(warnings for _, warnings in said)


@pytest.mark.parametrize(
    "metadata", [{"camera": "a"}, [{"key": "camera", "type": "string", "value": "a"}]]
)
def test_other_metadata_is_shared(metadata):
    found = parts_of(
        tensor("x", [2], ["a", "b"], "BYTES"),
        task_type="Text Classification",
        metadata=metadata,
        action="predict",
    )

    for each in found:
        assert metadata_items(each.parameters)[0][0]["value"] == "a"
        assert each.parameters["action"] == "predict"


def test_two_items_of_two_rows_are_shared_by_both():
    items = [
        {"key": "camera", "type": "string", "value": "a"},
        {"key": "frame", "type": "int", "value": "1"},
    ]
    found = parts_of(
        tensor("x", [2], ["a", "b"], "BYTES"),
        task_type="Text Classification",
        metadata=items,
    )

    assert [len(metadata_items(each.parameters)[0]) for each in found] == [2, 2]


def test_a_row_may_have_no_metadata():
    found = parts_of(
        tensor("x", [2], ["a", "b"], "BYTES"),
        task_type="Text Classification",
        metadata=[{"camera": "a"}, None],
    )

    assert [len(metadata_items(each.parameters)[0]) for each in found] == [1, 0]


@given(
    rows=st.lists(
        st.lists(st.integers(-1000, 1000), min_size=3, max_size=3),
        min_size=2,
        max_size=20,
    )
)
def test_rows_and_their_answers_put_together_are_the_batch(rows):
    count = len(rows)
    found = parts_of(tensor("x", [count, 3], rows), task_type="Tabular Regression")
    assert [orjson.loads(each.data)["data"] for each in found] == rows

    outputs = [
        tensor("y", [count], [sum(row) for row in rows]),
        tensor("z", [count, 3], rows),
    ]
    response = read_response(orjson.dumps({"outputs": outputs}))
    assert is_in_parts(response, count)
    slices, warning = slices_of(response, count)
    assert warning is None
    for row, value in zip(rows, slices, strict=True):
        y, z = value["outputs"]
        assert (y["shape"], y["data"]) == ([1], [sum(row)])
        assert (z["shape"], z["data"]) == ([1, 3], row)


def test_each_row_has_its_own_classes_of_triton():
    """``class_count=2``: the best two of each row, as ``score:index:label``."""
    data = ["0.9:1:car", "0.1:0:ship", "0.8:0:ship", "0.2:1:car"]
    outputs = [tensor("y", [2, 2], data, "BYTES")]
    response = read_response(orjson.dumps({"outputs": outputs}))

    assert is_in_parts(response, 2)
    slices, _ = slices_of(response, 2)
    found = [deconstruct(each, task_type="Image Classification") for each in slices]
    assert [each.detections[0].label for each in found] == ["car", "ship"]
