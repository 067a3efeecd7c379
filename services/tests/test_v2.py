"""Messages of the V2 protocol are read: tensors, raw data, depth and elements."""

from __future__ import annotations

import json

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.open_inference import (
    Tensor,
    V2Error,
    element_bytes,
    read_json,
    read_request,
    read_response,
    sniff,
    split,
    tensor_value,
)
from services.tests.v2_messages import (
    ARRAYS,
    GIF,
    JPEG,
    PNG,
    binary,
    framed,
    in_base64,
    json_values,
    request_of,
    tensor,
)


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
    request = read_request(body, length).inputs[0]

    assert orjson.loads(element_bytes(request, 0)) == tensor(
        [1.0, 2.0], datatype="FP16"
    )


@given(st.text(), st.dictionaries(st.text(), st.text()))
def test_any_text_is_some_bytes(text, parameters):
    for given_parameters in (parameters, {"content_type": "base64"}):
        tensor_ = Tensor("x", "BYTES", (1,), [text], given_parameters)
        assert isinstance(element_bytes(tensor_, 0), bytes)


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
