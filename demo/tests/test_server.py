from __future__ import annotations

import base64
import json

import numpy as np
import pytest

pytest.importorskip("skimage")
pytest.importorskip("sklearn")

from demo.models.digits import splits
from demo.pictures import digit, shipped
from demo.v2 import DTYPES, HEADER_LENGTH, LENGTH, Tensor

INFER = "/v2/models/digit-classifier/infer"


def image_entry(data="", **members):
    return {
        "name": "image",
        "shape": [1],
        "datatype": "BYTES",
        "data": [data],
    } | members


@pytest.fixture
def a_digit(image_tensor):
    return image_tensor(digit(splits()[1][0][0]))


@pytest.mark.parametrize("model", ["face-detector", "blob-detector", "digit-embedder"])
def test_json_and_binary_bodies_have_the_same_answer(
    infer, image_tensor, a_digit, model
):
    tensor = a_digit if "digit" in model else image_tensor(shipped("astronaut.png"))

    plain, raw = infer(model, tensor), infer(model, tensor, binary=True)

    assert plain.status == raw.status == 200
    assert plain.value == raw.value


def test_base64_is_seen_without_being_declared(ask, a_digit):
    text = base64.b64encode(a_digit.values[0]).decode()
    body = {"inputs": [image_entry(text)]}
    bare = {"inputs": [image_entry(data=text)]}

    replies = [ask("POST", INFER, json=each) for each in (body, bare)]

    assert [reply.status for reply in replies] == [200, 200]


@pytest.mark.parametrize(
    "said, header, expected",
    [
        ({"id": "a"}, {"Inference-Id": "b"}, "a"),
        ({}, {"Inference-Id": "b"}, "b"),
        ({}, {}, None),
    ],
)
def test_the_answer_repeats_the_id(infer, a_digit, said, header, expected):
    reply = infer("digit-classifier", a_digit, headers=header, **said)

    assert reply.value.get("id") == expected
    assert reply.value["model_name"] == "digit-classifier"


def values_of(content, datatype):
    if datatype != "BYTES":
        return np.frombuffer(content, DTYPES[datatype]).tolist()
    words = []
    while content:
        (length,) = LENGTH.unpack(content[:4])
        words.append(content[4 : 4 + length].decode())
        content = content[4 + length :]
    return words


def test_outputs_are_raw_when_asked_for(infer, image_tensor):
    picture = image_tensor(shipped("astronaut.png"))
    plain = infer("face-detector", picture)
    parameters = {"binary_data_output": True}

    raw = infer("face-detector", picture, parameters=parameters)

    end = int(raw.headers[HEADER_LENGTH])
    outputs, rest = json.loads(raw.body[:end])["outputs"], raw.body[end:]
    assert [o["name"] for o in outputs] == [o["name"] for o in plain.value["outputs"]]
    assert {output["datatype"] for output in outputs} > {"BYTES"}
    for output in outputs:
        size = output["parameters"]["binary_data_size"]
        own, rest = rest[:size], rest[size:]
        expected = plain.output(output["name"])["data"]
        assert values_of(own, output["datatype"]) == expected
    assert rest == b""


def test_only_the_wanted_outputs_are_sent(infer, image_tensor):
    wanted = [{"name": "num_detections"}]

    reply = infer("face-detector", image_tensor(shipped("horse.png")), outputs=wanted)

    assert [output["name"] for output in reply.value["outputs"]] == ["num_detections"]


@pytest.mark.parametrize(
    "path, member",
    [
        ("/v2", "extensions"),
        ("/v2/", "extensions"),
        ("/v2/health/live", "live"),
        ("/v2/health/ready", "ready"),
        ("/v2/models/wine-classifier", "inputs"),
        ("/v2/models/wine-classifier/versions/1", "outputs"),
        ("/v2/models/wine-classifier/ready", "ready"),
        ("/v2/models/wine-classifier/versions/1/ready", "ready"),
    ],
)
def test_server_and_models_tell_about_themselves(ask, path, member):
    reply = ask("GET", path)

    assert reply.status == 200
    assert reply.value[member]


def test_a_version_can_be_named(ask, a_digit):
    text = base64.b64encode(a_digit.values[0]).decode()
    path = "/v2/models/digit-classifier/versions/1/infer"

    assert ask("POST", path, json={"inputs": [image_entry(text)]}).status == 200


@pytest.mark.parametrize(
    "body",
    [
        "no json",
        "[]",
        "{}",
        '{"inputs": []}',
        '{"inputs": [1]}',
        '{"inputs": {"a": 1}}',
        {"inputs": [image_entry(datatype="FP128")]},
        {"inputs": [image_entry(shape=None)]},
        {"inputs": [image_entry(shape=[2])]},
        {"inputs": [image_entry(data=None)]},
        {"inputs": [image_entry(data=[3])]},
        {"inputs": [image_entry("no picture")]},
        {"inputs": [image_entry("%", parameters={"content_type": "base64"})]},
        {"inputs": [image_entry(base64.b64encode(b"\x89PNG\r\n\x1a\n").decode())]},
        {"inputs": [image_entry(parameters=[1])]},
        {"inputs": [image_entry(parameters={"binary_data_size": 9})]},
        {"inputs": [image_entry(["x"] * 64, datatype="FP32", shape=[1, 64])]},
        {"inputs": [image_entry([[1], [2, 3]], datatype="FP32", shape=[3])]},
        {"inputs": [image_entry(shape=[0], data=[])]},
    ],
)
def test_a_request_that_cannot_be_read_is_a_400_that_says_why(ask, body):
    reply = ask("POST", INFER, data=body if isinstance(body, str) else json.dumps(body))

    assert reply.status == 400
    assert set(reply.value) == {"error"}
    assert reply.value["error"]


@pytest.mark.parametrize("length", ["-1", "x", "99999999"])
def test_a_header_length_outside_the_body_is_refused(ask, length):
    reply = ask("POST", INFER, data=b"{}", headers={HEADER_LENGTH: length})

    assert reply.status == 400
    assert "error" in reply.value


@pytest.mark.parametrize("frame", [b"\x01", LENGTH.pack(99) + b"short"])
def test_elements_that_do_not_fill_their_frame_are_refused(ask, frame):
    entry = image_entry(parameters={"binary_data_size": len(frame)})
    header = json.dumps({"inputs": [entry]}).encode()

    headers = {HEADER_LENGTH: str(len(header))}
    reply = ask("POST", INFER, data=header + frame, headers=headers)

    assert reply.status == 400
    assert "do not fill" in reply.value["error"]


def test_numbers_in_place_of_a_picture_are_refused(infer):
    numbers = Tensor("image", "FP32", (1, 64), np.zeros(64))

    reply = infer("face-detector", numbers)

    assert reply.status == 400
    assert "BYTES" in reply.value["error"]


def test_an_unknown_output_is_refused(infer, a_digit):
    reply = infer("digit-classifier", a_digit, outputs=[{"name": "other"}])

    assert reply.status == 400
    assert "'other'" in reply.value["error"]


@pytest.mark.parametrize(
    "method, path, status",
    [
        ("GET", "/v2/models/other", 404),
        ("POST", "/v2/models/other/infer", 404),
        ("GET", "/v2/models/wine-classifier/versions/2", 404),
        ("GET", "/v3", 404),
        ("GET", INFER, 405),
    ],
)
def test_an_unknown_address_is_told_in_json(ask, method, path, status):
    reply = ask(method, path)

    assert reply.status == status
    assert reply.value["error"]
