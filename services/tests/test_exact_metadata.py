"""Metadata of a request is kept as it was written, and what stands twice is told."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.open_inference import (
    action_of,
    count_parts,
    metadata_items,
    read_request,
    split,
)
from protocols.open_inference.exact import elements_of, members_of


def items_of(
    metadata: str, *, as_text: bool
) -> tuple[dict[str, tuple[str, str]], list]:
    """What is read of metadata that travels as a JSON text, or as a value."""
    written = json.dumps(metadata) if as_text else metadata
    body = b'{"parameters": {"metadata": %b}, "inputs": []}' % written.encode()
    warnings: list[str] = []
    request = read_request(body, None, warnings)
    items, more = metadata_items(request.parameters)
    return {i["key"]: (i["type"], i["value"]) for i in items}, [*warnings, *more]


both = pytest.mark.parametrize("as_text", [True, False])


@both
def test_numbers_keep_their_digits(as_text):
    found, warnings = items_of(
        '{"gain":1.50,"pose":{"angle":10.50,"big":123456789012345678901,"e":1E2},'
        '"frame":12,"list":[1.0]}',
        as_text=as_text,
    )
    assert found == {
        "gain": ("float", "1.50"),
        "pose": ("json", '{"angle":10.50,"big":123456789012345678901,"e":1E2}'),
        "frame": ("int", "12"),
        "list": ("json", "[1.0]"),
    }
    assert warnings == []


def test_a_json_text_is_kept_byte_for_byte():
    text = '{ "a" : 1.50,\n "b": "\\u00e9\\/" }'
    listed = json.dumps([{"key": "pose", "type": "json", "value": text}])
    assert items_of(listed, as_text=True)[0]["pose"] == ("json", text)
    mapping = f'{{"pose": {text} , "x":1}}'
    assert items_of(mapping, as_text=True)[0]["pose"] == ("json", text)
    inline = f'[ {{"key": "pose", "value" : {text} }} ,{{"key":"x","value":1}}]'
    assert items_of(inline, as_text=True)[0]["pose"] == ("json", text)


@both
@pytest.mark.parametrize(
    "metadata",
    [
        '{"pose": {"a":1,"a":2}, "x": 1}',
        '{"pose": [{"b": {"a":1,"a":2}}], "x": 1}',
        '[{"key":"pose","value":{"a":1,"a":2}},{"key":"x","value":1}]',
        '[{"key":"pose","type":"json","value":"{\\"a\\":1,\\"a\\":2}"},{"key":"x","value":1}]',
        '[{"key":"pose","key":"pose","value":{}},{"key":"x","value":1}]',
        '[{"key":"pose","value":{"a":1},"value":{"a":2}},{"key":"x","value":1}]',
    ],
)
def test_what_stands_twice_is_set_aside_with_a_warning(metadata, as_text):
    found, warnings = items_of(metadata, as_text=as_text)
    assert found == {"x": ("int", "1")}
    assert len(warnings) == 1 and "set aside" in warnings[0]


@both
def test_of_a_key_that_stands_twice_the_first_counts(as_text):
    found, warnings = items_of('{"a":1,"b":3,"a":2}', as_text=as_text)
    assert found == {"a": ("int", "1"), "b": ("int", "3")}
    assert len(warnings) == 1 and "'a'" in warnings[0]


def test_a_name_that_stands_twice_in_parameters_is_told():
    body = (
        b'{"parameters": {"metadata": {"a": 1}, "metadata": {"b": 2}}, "inputs": '
        b'[{"name":"i","datatype":"FP32","shape":[1],"data":[1.5],"parameters":{"x":1,"x":2}}]}'
    )
    warnings: list[str] = []
    request = read_request(body, None, warnings)
    assert [each.split()[0] for each in warnings] == ["'metadata'", "'x'"]
    assert metadata_items(request.parameters)[0] == [
        {"key": "b", "type": "int", "value": "2"}
    ]


# As a body these are no JSON at all: then all of it is kept as it came.
UNREADABLE = ["1e400", '{"a": 1e400}', '"\\ud800"', '{"a": "\\ud800"}']
NOT_KEPT = [
    "NaN",
    "-Infinity",
    '{"a": NaN}',
    '"a\\u0000"',
    '{"a": "\\u0000"}',
    "12345678901234567890123",
    "true",
    "null",
]


@pytest.mark.parametrize(
    ("value", "as_text"),
    [(value, True) for value in UNREADABLE + NOT_KEPT]
    + [(value, False) for value in NOT_KEPT],
)
def test_what_cannot_be_kept_is_set_aside_and_costs_nothing_else(value, as_text):
    found, warnings = items_of(f'{{"bad": {value}, "good": 1}}', as_text=as_text)

    assert found == {"good": ("int", "1")}
    (warning,) = warnings
    assert "'bad'" in warning


@pytest.mark.parametrize("value", UNREADABLE)
def test_a_body_with_metadata_that_are_no_json_is_not_read(value):
    with pytest.raises(ValueError):
        items_of(f'{{"bad": {value}, "good": 1}}', as_text=False)


texts = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), texts, max_size=5), st.sampled_from([None, 1]))
def test_members_come_with_the_text_they_were_written_as(value, indent):
    text = json.dumps(value, indent=indent)
    found = list(members_of(text))
    assert {name: inner for name, inner, _ in found} == value
    assert all(json.loads(written) == inner for _, inner, written in found)
    listed = json.dumps(list(value.values()), indent=indent)
    assert [inner for inner, _ in elements_of(listed)] == list(value.values())


def seconds_to_read(count: int, *, twice: bool) -> float:
    """Processor time for a request of so many parameters, each of them there once or twice."""
    names = [f'"{number:07}":0' for number in range(count)] * (2 if twice else 1)
    body = b'{"parameters": {%b}, "inputs": []}' % ",".join(names).encode()
    began = time.process_time()
    read_request(body, None, [])
    return time.process_time() - began


@pytest.mark.parametrize("twice", [False, True])
def test_many_parameters_are_read_in_linear_time(twice):
    assert seconds_to_read(80_000, twice=twice) < 5


def test_few_of_many_names_that_stand_twice_are_told():
    names = ",".join(f'"{number}":0' for number in range(1000))
    body = b'{"parameters": {%b,%b}, "inputs": []}' % ((names.encode(),) * 2)
    warnings: list[str] = []
    read_request(body, None, warnings)
    assert len(warnings) == 101
    assert warnings[0] == "'0' stands twice in parameters; the last one counts."
    assert warnings[-1] == "900 more names stand twice in parameters."


def test_many_inputs_beside_many_parameters_are_taken_apart_in_linear_time():
    one = {"name": "a", "datatype": "BYTES", "shape": [1], "data": ["x"]}
    parameters = {"action": "embed", **{f"{n}": 0 for n in range(20_000)}}
    body = json.dumps({"parameters": parameters, "inputs": [one] * 4000}).encode()
    request = read_request(body)
    began = time.process_time()
    count_parts(request, "Text Classification")
    (part,) = split(request, "Text Classification")
    assert time.process_time() - began < 5
    assert action_of(part.parameters, None) == "embed"


def test_data_in_lists_of_different_depths_is_flat_in_linear_time():
    deep: list = [2]
    for _ in range(50):
        deep = [deep]
    tensor = {"name": "a", "datatype": "INT64", "shape": [-1]}
    data = [deep, *[1] * 300_000, [[3], 4]]
    body = json.dumps({"inputs": [{**tensor, "data": data}]}).encode()
    began = time.process_time()
    (read,) = read_request(body).inputs
    assert time.process_time() - began < 5
    assert read.data == [2, *[1] * 300_000, 3, 4]
