"""A message is one inference or several, and the answer is cut to go with them."""

from __future__ import annotations

import base64
import json

import numpy as np
import orjson
import pytest

from protocols.open_inference import (
    metadata_items,
    read_request,
    read_response,
    slice_response,
    split,
)
from services.tests.v2_messages import (
    GIF,
    PNG,
    binary,
    framed,
    in_base64,
    item,
    request_of,
    response_of,
    tensor,
)


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
