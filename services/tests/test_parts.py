"""A request is several inferences where inputs and answers both come in as many."""

from __future__ import annotations

import base64
import io

import orjson
import pytest
from PIL import Image

from protocols.open_inference import (
    as_one,
    is_in_parts,
    read_request,
    read_response,
    split,
)


def picture(width: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, 8), "red").save(file, "PNG")
    return file.getvalue()


def output(name: str, shape: list[int], data: list) -> dict:
    return {"name": name, "datatype": "FP32", "shape": shape, "data": data}


WHOLE = {
    "one score": [output("score", [1], [0.5])],
    "two classes of one": [
        output("decision", [1], [1]),
        output("p", [1, 2], [0.2, 0.8]),
    ],
    "a shared output beside rows": [output("a", [2], [1, 2]), output("b", [1], [3])],
    "more rows than inputs": [output("boxes", [7, 4], [0] * 28)],
    "rows that do not add up": [output("boxes", [2, 4], [0] * 7)],
    "nothing": [],
    "other names by number": [output("a-0", [1], [1]), output("b-1", [1], [1])],
}
IN_PARTS = {
    "a row each": [output("score", [2], [0.5, 0.6])],
    "rows in all outputs": [output("a", [2, 1], [1, 2]), output("b", [2, 2], [0] * 4)],
    "by number": [output("score-0", [1], [1]), output("score-1", [1], [1])],
    "by place": [output("score", [1], [1]), output("score", [3], [1, 2, 3])],
    "nothing found in either": [output("boxes", [2, 0, 4], [])],
}


@pytest.mark.parametrize("name", WHOLE)
def test_an_answer_of_one_piece_is_no_answer_in_parts(name):
    response = read_response(orjson.dumps({"outputs": WHOLE[name]}))
    assert not is_in_parts(response, 2)


@pytest.mark.parametrize("name", IN_PARTS)
def test_an_answer_of_as_many_pieces_is(name):
    response = read_response(orjson.dumps({"outputs": IN_PARTS[name]}))
    assert is_in_parts(response, 2)


def test_several_pictures_are_one_input_that_keeps_them_all():
    each = [picture(8), picture(9)]
    tensors = [
        {
            "name": name,
            "datatype": "BYTES",
            "shape": [1],
            "data": [base64.b64encode(data).decode()],
            "parameters": {"content_type": "base64"},
        }
        for name, data in zip(("front", "side"), each, strict=True)
    ]
    request = read_request(orjson.dumps({"inputs": tensors}))
    assert len(split(request)) == 2

    part = as_one(request)

    assert [each.name for each in part.tensors] == ["front", "side"]
    kept = orjson.loads(part.data)
    assert [base64.b64decode(one["data"][0]) for one in kept] == each
    assert {one["parameters"]["content_type"] for one in kept} == {"base64"}
    assert part.data == as_one(as_raw(each)).data  # however it travelled


def as_raw(pictures: list[bytes]):
    framed = [len(each).to_bytes(4, "little") + each for each in pictures]
    tensors = [
        {
            "name": name,
            "datatype": "BYTES",
            "shape": [1],
            "parameters": {"binary_data_size": len(data)},
        }
        for name, data in zip(("front", "side"), framed, strict=True)
    ]
    head = orjson.dumps({"inputs": tensors})
    return read_request(head + b"".join(framed), len(head))


def test_a_batch_of_pictures_is_one_input_too():
    tensor = {
        "name": "x",
        "datatype": "BYTES",
        "shape": [2],
        "data": [base64.b64encode(picture(n)).decode() for n in (8, 9)],
    }
    part = as_one(read_request(orjson.dumps({"inputs": [tensor]})))
    assert orjson.loads(part.data)["data"] == tensor["data"]
