from __future__ import annotations

import base64
import json
import struct

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.open_inference import (
    Tensor,
    V2Error,
    action_of,
    element_bytes,
    metadata_items,
    read_json,
    read_request,
    read_response,
    reserved,
    slice_response,
    sniff,
    split,
    strip_metadata,
    tensor_value,
)

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAA"
    "AABJRU5ErkJggg=="
)
GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01" + bytes(30)

ARRAYS = {
    "BOOL": "?",
    "UINT8": "<u1",
    "INT16": "<i2",
    "INT64": "<i8",
    "UINT64": "<u8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())  # lone surrogates too
    | st.sampled_from(["key", "string", "int", "float", "json", "NaN", "1e999", "[[["]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
    ),
    max_leaves=12,
)


def in_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def framed(*elements: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(each)) + each for each in elements)


def tensor(data, name="x", datatype="BYTES", shape=None, **parameters) -> dict:
    shape = [len(data)] if shape is None else shape
    value = {"name": name, "datatype": datatype, "shape": shape, "data": data}
    return {**value, "parameters": parameters} if parameters else value


def request_of(*inputs: dict, **members):
    return read_request(orjson.dumps({"inputs": inputs, **members}))


def response_of(*outputs: dict, **members):
    return read_response(orjson.dumps({"outputs": outputs, **members}))


def binary(*tensors: tuple[dict, bytes], **members) -> tuple[bytes, int]:
    """A body with raw tensors, and the length of its header."""
    inputs = []
    for entry, raw in tensors:
        parameters = {**entry.get("parameters", {}), "binary_data_size": len(raw)}
        inputs.append({**entry, "parameters": parameters})
        inputs[-1].pop("data", None)
    header = orjson.dumps({"inputs": inputs, **members})
    return header + b"".join(raw for _, raw in tensors), len(header)


# reading


def test_a_request_is_read_as_it_was_sent():
    request = request_of(
        tensor([[1, 2], [3, 4]], datatype="INT32", shape=[2, 2], gain=0.5),
        id="frame-13",
        parameters={"action": "detect"},
        outputs=[{"name": "boxes"}],
    )

    assert request.id == "frame-13"
    assert request.parameters == {"action": "detect"}
    assert request.outputs == ({"name": "boxes"},)
    assert request.inputs == (
        Tensor("x", "INT32", (2, 2), [1, 2, 3, 4], {"gain": 0.5}),
    )


@pytest.mark.parametrize(
    ("data", "flat"),
    [("one", ["one"]), ([[["a"]], [["b"]]], ["a", "b"]), ([1, [2]], [1, 2]), (7, [7])],
)
def test_data_that_bends_the_rules_is_read(data, flat):
    assert request_of(tensor(data, shape=[1])).inputs[0].data == flat


@pytest.mark.parametrize(
    ("body", "header_length", "message"),
    [
        (b"{", None, "not valid JSON"),
        (b"[]", None, "not a JSON object"),
        (b"{}", None, "'inputs' is not a list"),
        (b'{"inputs": {}}', None, "'inputs' is not a list"),
        (b'{"inputs": [1]}', None, "not an object"),
        (b'{"inputs": []}', 15, "header length 15"),
        (b'{"inputs": []}', -1, "header length -1"),
        (b'{"inputs": [NaN}', None, "not valid JSON"),
        (b'{"inputs": [], "x": NaN, "y": "\\ud800"}', None, "not valid JSON"),
        (b"\xff\xfe{}", None, "not valid JSON"),
    ],
)
def test_a_malformed_body_is_refused_with_its_reason(body, header_length, message):
    with pytest.raises(V2Error, match=message):
        read_request(body, header_length)


@pytest.mark.parametrize("size", [5, -1, "4", True, 1.0])
def test_a_wrong_length_of_raw_data_is_refused(size):
    entry = {"name": "x", "datatype": "UINT8", "parameters": {"binary_data_size": size}}
    header = orjson.dumps({"inputs": [entry]})

    with pytest.raises(V2Error, match="binary_data_size of 'x'"):
        read_request(header + b"1234", len(header))


@pytest.mark.parametrize(
    "raw", [b"\x01", b"\x09\x00\x00\x00ab", framed(b"a") + b"\x00"]
)
def test_elements_that_do_not_fill_their_raw_data_are_refused(raw):
    body, length = binary(({"name": "x", "datatype": "BYTES"}, raw))

    with pytest.raises(V2Error, match="do not fill"):
        read_request(body, length)


def test_raw_data_that_ends_within_a_number_is_refused():
    body, length = binary(({"name": "x", "datatype": "FP32"}, b"12345"))

    with pytest.raises(V2Error, match="no whole number of FP32"):
        read_request(body, length)


def test_a_body_without_a_header_is_one_raw_input():
    assert split(read_request(PNG, 0))[0].data == PNG


def test_nan_in_an_answer_is_let_pass():
    response = read_response(b'{"outputs": [{"name": "x", "data": [NaN, Infinity]}]}')

    assert np.isnan(response.outputs[0].data[0])


@given(st.data(), st.sampled_from(sorted(ARRAYS)))
def test_raw_numbers_mean_what_the_same_numbers_mean_in_json(data, datatype):
    count = data.draw(st.integers(0, 8))
    raw = data.draw(st.binary(min_size=count * 8, max_size=count * 8))
    values = (
        np.frombuffer(raw, ARRAYS[datatype])
        if datatype != "BOOL"
        else (np.frombuffer(raw, "u1") % 2 == 0)
    )
    values = np.nan_to_num(values) if values.dtype.kind == "f" else values
    shape = [len(values)]
    entry = tensor([], datatype=datatype, shape=shape)
    body, length = binary((entry, values.tobytes()))

    from_raw = read_request(body, length).inputs[0]
    from_json = request_of({**entry, "data": values.tolist()}).inputs[0]

    assert tensor_value(from_raw) == tensor_value(from_json)


@given(st.lists(st.binary(max_size=40)), st.binary(max_size=9))
def test_raw_elements_are_told_apart_by_their_lengths(elements, after):
    first = (
        {"name": "x", "datatype": "BYTES", "shape": [len(elements)]},
        framed(*elements),
    )
    second = ({"name": "y", "datatype": "UINT8", "shape": [len(after)]}, after)
    body, length = binary(first, second)

    x, y = read_request(body, length).inputs

    assert x.data == elements
    assert y.data.tobytes() == after
    assert [element_bytes(x, n) for n in range(len(elements))] == elements


def test_the_upper_half_of_a_float_is_a_bf16():
    raw = np.array([1.5, -2.0, 0.0], "<f4").view("<u2")[1::2].tobytes()
    body, length = binary(({"name": "x", "datatype": "BF16", "shape": [3]}, raw))

    assert read_request(body, length).inputs[0].data.tolist() == [1.5, -2.0, 0.0]


# depth


def test_json_may_be_as_deep_as_the_limit():
    assert read_json(b"[" * 64 + b"]" * 64)
    with pytest.raises(V2Error, match="deeper than 64"):
        read_json(b"[" * 65 + b"]" * 65)


def test_depth_is_counted_across_chunks():
    with pytest.raises(V2Error, match="deeper"):
        read_json(b"[" + b"1," * 1_500_000 + b'{"a":' * 64 + b"1" + b"}" * 64 + b"]")


@pytest.mark.parametrize(
    "text", ["[" * 99, '\\"' + "[" * 99, "\\\\\\" + "{" * 99, '"' * 99]
)
def test_brackets_in_text_are_no_depth(text):
    assert read_json(orjson.dumps([text, "x" * 9, *([[1]] * 99)]))[0] == text


def test_a_quote_in_text_hides_no_depth():
    deep = b'["\\\\", ' * 99 + b"1" + b"]" * 99

    with pytest.raises(V2Error, match="deeper"):
        read_json(deep)


@given(json_values)
def test_depth_is_what_the_parser_would_recurse_to(value):
    def depth(inner) -> int:
        if isinstance(inner, dict):
            inner = list(inner.values())
        return 1 + max(map(depth, inner), default=0) if isinstance(inner, list) else 0

    body = json.dumps(value).encode()
    deepest = depth(value)
    if deepest:
        with pytest.raises(V2Error, match="deeper"):
            read_json(body, deepest - 1)
    try:
        read_json(body, deepest)
    except V2Error as error:
        assert "deeper" not in str(error)


# elements


@pytest.mark.parametrize(
    ("item", "parameters", "expected"),
    [
        ("ships", {}, b"ships"),
        (in_base64(PNG), {}, PNG),
        (in_base64(b"plain words are not taken apart"), {}, None),
        (in_base64(b"plain words"), {"content_type": "base64"}, b"plain words"),
        ("-_8", {"content_type": "base64"}, b"\xfb\xff"),
        ("no base64!", {"content_type": "base64"}, b"no base64!"),
        ("data:image/png;base64," + in_base64(PNG), {}, PNG),
        ("data:text/plain,a%20b", {}, b"a b"),
        ("data: none", {}, b"data: none"),
        ({"b64": in_base64(PNG)}, {}, PNG),
        ({"text": "a"}, {}, b'{"text":"a"}'),
        (1.5, {}, b"1.5"),
    ],
)
def test_an_element_is_what_was_wrapped(item, parameters, expected):
    element = Tensor("x", "BYTES", (1,), [item], parameters)

    assert element_bytes(element, 0) == (
        item.encode() if expected is None else expected
    )


def test_a_tensor_of_numbers_is_its_json():
    body, length = binary(
        (
            {"name": "x", "datatype": "FP16", "shape": [2]},
            np.array([1, 2], "<f2").tobytes(),
        )
    )
    asked = read_request(body, length).inputs[0]

    assert orjson.loads(element_bytes(asked, 0)) == tensor([1.0, 2.0], datatype="FP16")


@given(st.text(), st.dictionaries(st.text(), st.text()))
def test_any_text_is_some_bytes(text, parameters):
    element_bytes(Tensor("x", "BYTES", (1,), [text], parameters), 0)
    element_bytes(Tensor("x", "BYTES", (1,), [text], {"content_type": "base64"}), 0)


@pytest.mark.parametrize(
    ("data", "content_type"),
    [
        (PNG, "image/png"),
        (JPEG, "image/jpeg"),
        (GIF, "image/gif"),
        (b"%PDF-1.7\n", "application/pdf"),
        (b'{"a": 1}', "application/json"),
        (b"{no json", "text/plain; charset=utf-8"),
        (b"BMW and MZ are words", "text/plain; charset=utf-8"),
        ("caf\u00e9".encode(), "text/plain; charset=utf-8"),
        (b"", "text/plain; charset=utf-8"),
        (b"\x00\x01\x02\x03", "application/octet-stream"),
        (b"a" * 100 + b"\xff", "application/octet-stream"),
    ],
)
def test_bytes_tell_what_they_are(data, content_type):
    assert sniff(data) == content_type


# parts


def test_inputs_of_one_image_each_are_one_inference_each():
    request = request_of(
        tensor([in_base64(PNG)], "image-0", metadata='{"frame": 1}'),
        tensor([in_base64(GIF)], "image-1", shape=[1, 1], action="predict"),
        parameters={"action": "detect"},
    )

    first, second = split(request)

    assert (first.index, first.count, first.data) == (0, 2, PNG)
    assert first.parameters == {"action": "detect", "metadata": '{"frame": 1}'}
    assert (second.index, second.count, second.data) == (1, 2, GIF)
    assert second.content_type == "image/gif"
    assert second.parameters == {"action": "predict"}
    assert second.tensor is request.inputs[1]


@pytest.mark.parametrize("shape", [[2], [2, 1]])
def test_a_batch_of_images_is_one_inference_each(shape):
    body, length = binary((tensor([], shape=shape), framed(PNG, GIF)))

    assert [part.data for part in split(read_request(body, length))] == [PNG, GIF]


@pytest.mark.parametrize("data", [["a", "b"], [in_base64(PNG), "b"]])
def test_a_batch_of_other_things_is_one_inference(data):
    (part,) = split(request_of(tensor(data)))

    assert part.content_type == "application/json"
    assert orjson.loads(part.data) == tensor(data)


def test_one_text_is_one_inference():
    (part,) = split(request_of(tensor("a ship"), parameters={"temperature": 0}))

    assert (part.index, part.count, part.data) == (0, 1, b"a ship")
    assert part.content_type == "text/plain; charset=utf-8"


def test_an_image_beside_settings_is_the_data():
    numbers = tensor([0.5], "threshold", "FP32", metadata='{"a": 1}')
    (part,) = split(request_of(numbers, tensor([in_base64(PNG)], metadata='{"b": 2}')))

    assert (part.data, part.content_type) == (PNG, "image/png")
    items, warnings = metadata_items(part.parameters)
    assert [item["key"] for item in items] == ["b", "a"]
    assert not warnings


def test_metadata_of_request_and_input_adds_up():
    (part,) = split(
        request_of(
            tensor(["a"], metadata=[item("camera", "string", "north")]),
            parameters={"metadata": {"gain": 0.5, "camera": "south"}},
        )
    )

    items, warnings = metadata_items(orjson.loads(orjson.dumps(part.parameters)))
    assert items == [item("camera", "string", "north"), item("gain", "float", "0.5")]
    assert "twice" in warnings[0]


def test_metadata_is_read_as_it_would_be_after_a_journey_as_json():
    listed = [json.dumps([item("a", "int", "1")]), '{"b": 2}']

    assert [each["key"] for each in metadata_items({"metadata": listed})[0]] == [
        "a",
        "b",
    ]


def test_several_inputs_are_one_inference_with_all_of_them():
    age, name = tensor([7], "age", "INT32"), tensor(["a"], "name")
    (part,) = split(request_of(age, name))

    assert orjson.loads(part.data) == [age, name]
    assert part.tensor.name == "age"


def test_a_request_for_nothing_is_one_inference():
    (part,) = split(request_of())

    assert (part.tensor, part.data, part.content_type) == (
        None,
        b"[]",
        "application/json",
    )


# slices of the answer


def names_of(answer: dict) -> list[str]:
    return [output["name"] for output in answer["outputs"]]


def test_the_only_part_has_the_whole_answer():
    output = tensor([1, 2], "y", "INT32")
    response = response_of(output, model_name="m", model_version="1", id="a")

    answer, warning = slice_response(response, 0, 1)

    assert answer == {
        "model_name": "m",
        "model_version": "1",
        "id": "a",
        "outputs": [output],
    }
    assert warning is None


def test_numbered_outputs_go_by_their_number():
    names = ["boxes-1", "scores-1", "boxes-0", "scores-0"]
    response = response_of(*(tensor([1], name, "FP32") for name in names))

    assert names_of(slice_response(response, 0, 2)[0]) == ["boxes-0", "scores-0"]
    assert names_of(slice_response(response, 1, 2)[0]) == ["boxes-1", "scores-1"]


def test_outputs_of_one_name_go_by_their_place():
    response = response_of(tensor(["a"], "y"), tensor(["b"], "y"))

    answer, warning = slice_response(response, 1, 2)

    assert answer["outputs"] == [tensor(["b"], "y")]
    assert warning is None


def test_a_batch_of_answers_goes_by_rows():
    boxes = tensor([[[1, 2]], [[3, 4]]], "boxes", "FP32", [2, 1, 2])
    labels = tensor(["ship", "tug"], "labels")
    version = tensor(["v1"], "version")

    answer, warning = slice_response(response_of(boxes, labels, version), 1, 2)

    assert answer["outputs"] == [
        tensor([3, 4], "boxes", "FP32", [1, 1, 2]),
        tensor(["tug"], "labels"),
        version,
    ]
    assert warning is None


def test_as_many_outputs_as_parts_with_names_of_their_own_go_by_rows():
    outputs = [tensor([1, 2], name, "FP32") for name in ("boxes", "scores")]

    answer, _ = slice_response(response_of(*outputs), 0, 2)

    assert [output["data"] for output in answer["outputs"]] == [[1], [1]]


def test_an_answer_in_one_piece_stays_so_with_a_warning():
    response = response_of(tensor([1, 2, 3], "y", "FP32"))

    answer, warning = slice_response(response, 1, 2)

    assert answer["outputs"][0]["data"] == [1, 2, 3]
    assert "could not be taken apart into 2 parts" in warning


def test_raw_answers_become_json():
    body, length = binary(
        (tensor([], "y", shape=[2, 1]), framed(PNG, b"a")),
        (tensor([], "z", "FP32", [2]), np.array([1, 2], "<f4").tobytes()),
    )
    document = body[:length].replace(b'"inputs"', b'"outputs"')
    response = read_response(document + body[length:], len(document))

    answer, _ = slice_response(response, 0, 2)

    orjson.dumps(answer)
    image, number = answer["outputs"]
    assert image["parameters"] == {"content_type": "base64"}
    assert base64.b64decode(image["data"][0]) == PNG
    assert number == tensor([1.0], "z", "FP32")


# metadata


def item(key, type, value) -> dict:
    return {"key": key, "type": type, "value": value}


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


# actions


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


# stripping


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
    (asked,) = read_request(stripped, shorter).inputs
    assert asked.parameters == {"binary_data_size": len(raw)}


def test_a_body_without_metadata_is_left_as_it_is():
    body = b'{ "inputs": [ ] }'

    assert strip_metadata(body) == (body, None)


def test_taking_metadata_out_keeps_nan():
    body = b'{"inputs":[{"data":[NaN],"parameters":{"metadata":"[]"}}]}'

    assert strip_metadata(body)[0] == b'{"inputs":[{"data":[NaN],"parameters":{}}]}'
