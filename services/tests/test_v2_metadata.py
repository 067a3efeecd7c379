"""Metadata of V2 messages: items, reserved keys, the action, and how they are taken out."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.open_inference import (
    action_of,
    metadata_items,
    read_request,
    reserved,
    strip_metadata,
)
from services.tests.v2_messages import (
    PNG,
    binary,
    framed,
    item,
    json_values,
    tensor,
)


def read_items(*items) -> tuple[list, list]:
    return metadata_items({"metadata": json.dumps(items)})


def test_metadata_comes_as_the_text_of_a_list_or_as_a_list():
    listed = [
        item("camera", "string", "north"),
        item("frame", "int", "12"),
        item("gain", "float", 0.5),
        item("pose", "json", '{"angle": 10.5}'),
        item("box", "json", [1, 2]),
    ]
    normal = [
        item("camera", "string", "north"),
        item("frame", "int", "12"),
        item("gain", "float", "0.5"),
        item("pose", "json", '{"angle": 10.5}'),
        item("box", "json", "[1,2]"),
    ]

    assert metadata_items({"metadata": listed}) == (normal, [])
    written = json.dumps(listed).replace("[1, 2]", "[1,2]")
    assert metadata_items({"metadata": written}) == (normal, [])


def test_a_mapping_tells_the_types():
    given_mapping = {"a": "x", "b": 1, "c": 1.5, "d": {"e": None}, "f": True, "g": None}

    items, warnings = metadata_items({"metadata": given_mapping})

    assert items == [
        item("a", "string", "x"),
        item("b", "int", "1"),
        item("c", "float", "1.5"),
        item("d", "json", '{"e":null}'),
    ]
    assert len(warnings) == 2


@pytest.mark.parametrize("parameters", [{}, {"metadata": None}, {"metadata": ""}, None])
def test_no_metadata_is_no_warning(parameters):
    assert metadata_items(parameters) == ([], [])


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("text", "not valid JSON"),
        (5, "not an object"),
        (item(5, "int", "1"), "key is not a text"),
        (item("", "int", "1"), "key is not a text"),
        (item("k" * 257, "int", "1"), "key is longer than 256"),
        (item("k\0", "int", "1"), "NUL"),
        (item("k\ud800", "int", "1"), "half a character"),
        (item("k", "bool", "1"), "type of 'k'"),
        (item("k", ["int"], "1"), "type of 'k'"),
        (item("k", "int", True), "type of 'k'"),
        (item("k", "string", None), "type of 'k'"),
        (item("k", "string", {}), "not a valid string"),
        (item("k", "string", "\ud800"), "not a valid string"),
        (item("k", "string", "a\0"), "NUL"),
        (item("k", "string", "\u00e9" * 32769), "longer than 65536 bytes"),
        (item("k", "int", "9223372036854775808"), "not a valid int"),
        (item("k", "int", 2**63), "not a valid int"),
        (item("k", "int", "+1"), "not a valid int"),
        (item("k", "int", "\u0661"), "not a valid int"),
        (item("k", "int", 1.5), "not a valid int"),
        (item("k", "float", "nan"), "not a valid float"),
        (item("k", "float", "1e999"), "not a valid float"),
        (item("k", "float", float("inf")), "not a valid float"),
        (item("k", "float", 10**400), "not a valid float"),
        (item("k", "float", "1_0"), "not a valid float"),
        (item("k", "json", "{"), "not a valid json"),
        (item("k", "json", '{"a": "\\u0000"}'), "not a valid json"),
        (item("k", "json", '"\\ud800"'), "not a valid json"),
        (item("k", "json", [float("nan")]), "not a valid json"),
        (item("k", "json", "[" * 99 + "]" * 99), "not a valid json"),
    ],
)
def test_a_bad_item_is_set_aside_with_its_reason(bad, reason):
    items, (warning,) = read_items(bad, item("good", "int", "-1"))

    assert items == [item("good", "int", "-1")]
    assert reason in warning
    warning.encode()


def test_a_backslash_before_u0000_is_no_nul():
    assert read_items(item("k", "json", '"\\\\u0000"'))[1] == []


def test_of_two_items_with_one_key_the_first_counts():
    items, warnings = read_items(item("k", "int", "1"), item("k", "string", "2"))

    assert items == [item("k", "int", "1")]
    assert "twice" in warnings[0]


def test_items_after_the_hundredth_are_set_aside():
    items, warnings = read_items(*(item(f"k{n}", "int", n) for n in range(102)))

    assert len(items) == 100
    assert warnings == ["Metadata after the first 100 items was set aside."]


def test_text_that_is_no_json_is_set_aside():
    items, (warning,) = metadata_items({"metadata": "north"})

    assert items == []
    assert "not valid JSON" in warning


@given(json_values | st.text().map(lambda text: f'[{{"key": "k", "value": {text}}}]'))
def test_no_metadata_whatever_raises(value):
    for metadata in (value, json.dumps(value)):
        items, warnings = metadata_items({"metadata": metadata})
        reserved(items)
        orjson.dumps([items, warnings])


@given(
    st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False)
)
def test_numbers_keep_their_value(whole, number):
    items, _ = read_items(item("a", "int", whole), item("b", "float", number))

    assert int(items[0]["value"]) == whole
    assert float(items[1]["value"]) == number


def places(**values) -> tuple:
    return reserved(metadata_items({"metadata": values})[0])


def test_the_reserved_keys_have_columns_of_their_own():
    place = places(latitude=51.95, longitude="4.14", data_source="quay-3")

    assert place == (51.95, 4.14, "quay-3", [])


@pytest.mark.parametrize(
    "values",
    [
        {"latitude": 90.1, "longitude": 4},
        {"latitude": 1, "longitude": -181},
        {"latitude": "north", "longitude": 4},
        {"latitude": 1},
        {"longitude": 1},
    ],
)
def test_coordinates_are_whole_or_not_there(values):
    latitude, longitude, _, warnings = places(**values)

    assert (latitude, longitude) == (None, None)
    assert len(warnings) == 1


@pytest.mark.parametrize(
    ("parameters", "task_type", "action"),
    [
        ({"action": "predict_proba"}, "Object Detection", "predict_proba"),
        ({"inference_action": "embed"}, "Object Detection", "embed"),
        ({"action": "explode"}, "Object Detection", "detect"),
        ({"action": 5}, "Oriented Object Detection", "detect"),
        ({}, "Image Segmentation", "predict"),
        ({}, "Text Embedding", "embed"),
        ({}, "Image Classification", "predict"),
        ({}, None, "predict"),
    ],
)
def test_the_request_says_the_action_or_the_task_implies_it(
    parameters, task_type, action
):
    assert action_of(parameters, task_type) == action


def test_metadata_is_taken_out_of_a_json_body():
    kept = tensor(["a"], gain=1)
    with_metadata = tensor(["a"], gain=1, metadata="[]")

    body, length = strip_metadata(
        orjson.dumps({"id": "1", "inputs": [with_metadata, kept]})
    )

    assert orjson.loads(body) == {"id": "1", "inputs": [kept, kept]}
    assert length is None


def test_the_header_length_follows_what_was_taken_out():
    raw = framed(PNG)
    body, length = binary((tensor([], shape=[1], metadata='{"a": 1}'), raw))

    stripped, shorter = strip_metadata(body, length)

    assert shorter < length
    assert stripped[shorter:] == raw
    (request,) = read_request(stripped, shorter).inputs
    assert request.parameters == {"binary_data_size": len(raw)}


def test_a_body_without_metadata_is_left_as_it_is():
    body = b'{ "inputs": [ ] }'

    assert strip_metadata(body) == (body, None)


def test_taking_metadata_out_keeps_nan():
    body = b'{"inputs":[{"data":[NaN],"parameters":{"metadata":"[]"}}]}'

    assert strip_metadata(body)[0] == b'{"inputs":[{"data":[NaN],"parameters":{}}]}'
