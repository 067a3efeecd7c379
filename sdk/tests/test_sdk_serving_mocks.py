"""A mock as a server: V2, the paths of OpenAI, and plain JSON."""

from __future__ import annotations

import base64
import json
import signal
import struct
import subprocess
import sys
import threading

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference_store import mocks
from inference_store.local import serve, v2

PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAA"
    "AABJRU5ErkJggg=="
)


@pytest.fixture
def served():
    """``served("chat", seed=3)``: a client of a server of its own."""
    servers = []

    def start(name, **options):
        server = serve(mocks.create(name, options))
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        client = httpx2.Client(base_url=server.url, timeout=10)
        servers.append((server, client))
        return client

    yield start
    for server, client in servers:
        client.close()
        server.shutdown()
        server.server_close()


def tensor(data, datatype="BYTES", **rest):
    shape = rest.pop("shape", [len(data)])
    return {
        "name": "input-0",
        "shape": shape,
        "datatype": datatype,
        "data": data,
        **rest,
    }


def test_plain_json_is_answered_at_the_endpoint(served):
    asked = {"text": "A ship"}
    answer = served("text-completion", seed=3).post("/generate", json=asked)
    assert answer.json() == mocks.TextCompletion(seed=3).infer(asked)


def test_v2_of_a_detector(served):
    client = served("object-detection", seed=3)
    assert client.get("/v2/health/ready").status_code == 200
    assert client.get("/v2/models/object-detection/ready").status_code == 200
    assert (
        client.get("/v2/models/object-detection").json()["name"] == "object-detection"
    )
    other = client.get("/v2/models/other")
    assert other.status_code == 404
    assert "The model of this server is " in other.json()["error"]
    body = {
        "id": "a-1",
        "inputs": [tensor([PIXEL], parameters={"content_type": "base64"})],
    }
    answer = client.post("/v2/models/object-detection/infer", json=body).json()
    assert (answer["id"], answer["model_name"]) == ("a-1", "object-detection")
    outputs = {each["name"]: each for each in answer["outputs"]}
    found = mocks.ObjectDetection(seed=3).infer({"image": PIXEL})
    assert outputs["detection_labels"]["data"] == [each["label"] for each in found]
    assert found and outputs["detection_boxes"]["shape"] == [len(found), 4]
    assert all(0 <= side <= 1 for side in outputs["detection_boxes"]["data"])


def test_v2_of_several_elements_has_numbered_outputs(served):
    body = {"inputs": [tensor(["A ship", "A tug"])]}
    answer = served("text-completion").post(
        "/v2/models/text-completion/versions/1/infer", json=body
    )
    assert [each["name"] for each in answer.json()["outputs"]] == ["text-0", "text-1"]


def test_v2_of_rows(served):
    client = served("tabular-regression")
    path = "/v2/models/tabular-regression/infer"
    flat = client.post(
        path, json={"inputs": [tensor([1, 2, 3, 4], "FP64", shape=[2, 2])]}
    )
    nested = client.post(
        path, json={"inputs": [tensor([[1, 2], [3, 4]], "FP64", shape=[2, 2])]}
    )
    assert flat.json() == nested.json()
    assert len(flat.json()["outputs"]) == 6
    columns = [
        {**tensor([1.0], "FP64"), "name": "draught"},
        {**tensor(["NL"]), "name": "flag"},
    ]
    (value, *_) = client.post(path, json={"inputs": columns}).json()["outputs"]
    (said,) = mocks.TabularRegression().infer(
        {"features": {"draught": 1.0, "flag": "NL"}}
    )
    assert value["data"] == [said["value"]]


def test_v2_reads_binary_tensors(served):
    content = base64.b64decode(PIXEL)
    frame = struct.pack("<I", len(content)) + content
    numbers = struct.pack("<2f", 1.5, 2.5)

    def ask(client, name, datatype, shape, raw):
        head = {
            "name": "x",
            "shape": shape,
            "datatype": datatype,
            "parameters": {"binary_data_size": len(raw)},
        }
        header = json.dumps({"inputs": [head]}).encode()
        length = {"Inference-Header-Content-Length": str(len(header))}
        return client.post(
            f"/v2/models/{name}/infer", content=header + raw, headers=length
        )

    client = served("image-classification")
    said = ask(client, "image-classification", "BYTES", [1], frame).json()
    best = json.loads(said["outputs"][0]["data"][0])
    assert best == mocks.ImageClassification().infer({"image": content})[0]
    assert (
        ask(client, "image-classification", "BYTES", [1], frame[:-1]).status_code == 400
    )
    client = served("tabular-regression")
    said = ask(client, "tabular-regression", "FP32", [1, 2], numbers).json()
    assert (
        said["outputs"][0]["data"][0]
        == mocks.TabularRegression().infer({"features": [1.5, 2.5]})[0]["value"]
    )


def events(response):
    lines = [line for line in response.text.split("\n\n") if line]
    assert all(line.startswith("data: ") for line in lines)
    assert lines.pop() == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def test_chat_completions_and_their_stream_say_the_same(served):
    client = served("chat", seed=4)
    asked = {"model": "gpt", "n": 2, "messages": [{"role": "user", "content": "Hello"}]}
    whole = client.post("/v1/chat/completions", json=asked).json()
    said = [choice["message"]["content"] for choice in whole["choices"]]
    assert len(set(said)) == 2
    assert whole["usage"]["completion_tokens"] == sum(len(s.split()) for s in said)

    streamed = {**asked, "stream": True, "stream_options": {"include_usage": True}}
    response = client.post("/v1/chat/completions", json=streamed)
    assert response.headers["content-type"] == "text/event-stream"
    *chunks, last = events(response)
    assert (last["choices"], last["usage"]) == ([], whole["usage"])
    parts = ["", ""]
    for chunk in chunks:
        (choice,) = chunk["choices"]
        parts[choice["index"]] += choice["delta"].get("content", "")
    assert parts == said
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


def test_completions_and_embeddings(served):
    client = served("text-completion")
    whole = client.post("/v1/completions", json={"prompt": ["A ship", "A tug"]}).json()
    assert [choice["index"] for choice in whole["choices"]] == [0, 1]
    chunks = events(
        client.post("/v1/completions", json={"prompt": "A ship", "stream": True})
    )
    streamed = "".join(chunk["choices"][0]["text"] for chunk in chunks)
    assert streamed == whole["choices"][0]["text"]
    client = served("text-embedding")
    data = client.post("/v1/embeddings", json={"input": ["A ship", "A tug"]}).json()[
        "data"
    ]
    assert [each["index"] for each in data] == [0, 1]
    assert data[0]["embedding"] == mocks.TextEmbedding().vector("A ship")
    packed = {"input": "A ship", "encoding_format": "base64"}
    (row,) = client.post("/v1/embeddings", json=packed).json()["data"]
    unpacked = struct.unpack("<64f", base64.b64decode(row["embedding"]))
    assert unpacked == pytest.approx(data[0]["embedding"])
    assert client.get("/v1/models").json()["data"][0]["id"] == "text-embedding"


@pytest.mark.parametrize(
    ("path", "content", "status"),
    [
        ("/generate", b"{", 400),
        ("/generate", b"[]", 400),
        ("/generate", b'{"txt": 1}', 400),
        ("/v1/completions", b'{"prompt": 5}', 400),
        ("/v1/completions", b'{"prompt": []}', 400),
        ("/v1/completions", b'{"prompt": "a", "stream": "yes"}', 400),
        ("/v1/completions", b'{"prompt": "a", "n": 99, "stream": true}', 400),
        ("/v1/chat/completions", b"{}", 404),
        ("/v2/models/text-completion/infer", b"[]", 400),
        ("/v2/models/text-completion/infer", b'{"inputs": [{"data": [1]}]}', 400),
        ("/elsewhere", b"{}", 404),
    ],
)
def test_what_cannot_be_answered_is_an_error_in_the_form_of_the_protocol(
    served, path, content, status
):
    response = served("text-completion").post(path, content=content)
    assert response.status_code == status
    said = response.json()["error"]
    assert (said["message"] if path.startswith("/v1/") else said) != ""


def test_failures_that_were_asked_for_are_failures_of_the_server(served):
    response = served("chat", error_rate=1).post("/chat", json={"text": "a"})
    assert response.status_code == 503


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["data", "shape", "parameters", "name"]), inner),
    max_leaves=6,
)  # fmt: skip
BODIES = JSON | st.fixed_dictionaries(
    {"inputs": st.lists(st.fixed_dictionaries({"data": JSON}, optional={"shape": JSON, "parameters": JSON}), max_size=2)}
)  # fmt: skip


@pytest.mark.parametrize("name", sorted(mocks.registry))
@given(BODIES)
@settings(max_examples=30, deadline=None)
def test_any_v2_body_is_answered_or_refused_as_bad(name, body):
    content = json.dumps(body).encode()
    try:
        answer = v2.answer(mocks.create(name), v2.read_body(content, None))
    except mocks.BadRequest:
        return
    json.dumps(answer, allow_nan=False)


def test_the_command_serves_until_it_is_told_to_stop():
    argv = [sys.executable, "-m", "inference_store.mocks"]
    process = subprocess.Popen(
        [*argv, "serve", "chat", "--seed", "4", "--options", '{"replies": 2}'],
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        url = process.stdout.readline().split()[-1]
        answer = httpx2.post(f"{url}/chat", json={"text": "Hello"}).json()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert answer == mocks.Chat(seed=4, replies=2).infer({"text": "Hello"})
    wrong = subprocess.run(
        [*argv, "serve", "chat", "--error-rate", "2"], capture_output=True, text=True
    )
    assert (wrong.returncode, "error_rate" in wrong.stderr) == (1, True)
