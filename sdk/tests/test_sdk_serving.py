"""One V2 request through the proxy, whatever the model is asked about."""

from __future__ import annotations

import base64
import io
import json

import pytest

from inference_store import errors, get_model
from inference_store.tensors import input_tensor

RESOURCE = {
    "model_id": "a/b",
    "created_at": "2026-01-01T00:00:00Z",
    "updated_at": "2026-01-01T00:00:00Z",
    "embedding_size": 0,
    "proxy_url": "http://proxy.example:8001/",
}
ANSWER = {"model_name": "m", "id": "i-1", "outputs": [{"name": "o", "data": [1]}]}
RECORDED = {"Inference-Id": "i-%C3%BC", "Inference-Store": "recorded"}


@pytest.fixture
def model(client, store, monkeypatch):
    monkeypatch.delenv("ISTORE_PROXY_URL", raising=False)
    store.says(RESOURCE)
    return get_model("a/b")


def test_a_picture_goes_as_base64_with_its_metadata(model, store):
    store.says((200, ANSWER, RECORDED))
    answer = model.detect(
        b"\x89PNG",
        custom_metadata={"camera": "north", "pose": {"a": 1}, "latitude": 5.5},
    )
    assert str(store.last.url) == "http://proxy.example:8001/v2/models/a%2Fb/infer"
    assert store.last.headers["authorization"] == "Bearer ist_secret"
    [tensor] = store.body["inputs"]
    said = json.loads(tensor["parameters"].pop("metadata"))
    assert tensor == {
        "name": "input-0",
        "shape": [1],
        "datatype": "BYTES",
        "parameters": {"content_type": "base64", "action": "detect"},
        "data": [base64.b64encode(b"\x89PNG").decode()],
    }
    assert said == [
        {"key": "camera", "type": "string", "value": "north"},
        {"key": "pose", "type": "json", "value": '{"a": 1}'},
        {"key": "latitude", "type": "float", "value": "5.5"},
    ]
    assert "id" not in store.body
    assert (answer.inference_id, answer.recorded) == ("i-ü", True)
    assert answer["outputs"] == answer.outputs == ANSWER["outputs"]


@pytest.mark.parametrize("action", ["predict", "predict_proba", "detect", "embed"])
def test_each_call_names_its_action(model, store, action):
    store.says((200, ANSWER, {"Inference-Store": "not-recorded; reason=off"}))
    answer = getattr(model, action)([[1, 2.5], [3, 4]], inference_id="mine")
    [tensor] = store.body["inputs"]
    assert tensor["parameters"] == {"action": action}
    assert (tensor["datatype"], tensor["shape"]) == ("FP64", [2, 2])
    assert tensor["data"] == [1.0, 2.5, 3.0, 4.0]
    assert store.body["id"] == "mine"
    assert not answer.recorded
    assert answer.record_status == "not-recorded; reason=off"


def test_an_inference_is_asked_for_once(model, store):
    store.says((503, {"error": "busy"}, {"Retry-After": "1"}))
    before = len(store.requests)
    with pytest.raises(errors.Unavailable, match="busy"):
        model.predict(b"x")
    assert len(store.requests) == before + 1


def test_the_environment_may_name_the_proxy(model, store, monkeypatch):
    monkeypatch.setenv("ISTORE_PROXY_URL", "http://near:1")
    store.says((200, ANSWER))
    model.predict(b"x")
    assert store.last.url.host == "near"


def test_settings_are_changed(model, store):
    store.says(RESOURCE | {"upstream_url": "http://u"})
    model.set_inference_server_settings({"upstream_url": "http://u"})
    assert (store.last.method, store.body) == ("PATCH", {"upstream_url": "http://u"})
    assert store.path == "/api/v1/models/a%2Fb/inference-server-settings"
    assert model.resource.upstream_url == "http://u"


def test_a_model_that_is_not_there_raises(client, store, not_found):
    store.says(not_found)
    with pytest.raises(errors.NotFound):
        get_model("m")


def decoded(tensor) -> bytes:
    return base64.b64decode(tensor["data"][0])


def test_a_path_is_the_file(tmp_path):
    path = tmp_path / "picture"
    path.write_bytes(b"picture")
    assert decoded(input_tensor(path)) == b"picture"
    assert decoded(input_tensor(str(path))) == b"picture"
    with pytest.raises(FileNotFoundError, match="send a text as its bytes"):
        input_tensor(str(tmp_path / "none"))


@pytest.mark.parametrize("mode", ["RGB", "CMYK", "L"])
def test_an_image_is_sent_as_png(mode):
    image = pytest.importorskip("PIL.Image")
    sent = decoded(input_tensor(image.new(mode, (3, 2))))
    assert image.open(io.BytesIO(sent)).size == (3, 2)


def test_an_array_is_sent_as_fp64():
    numpy = pytest.importorskip("numpy")
    tensor = input_tensor(numpy.arange(6, dtype="int32").reshape(2, 3))
    assert (tensor["datatype"], tensor["shape"]) == ("FP64", [2, 3])
    assert tensor["data"] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "data", [[[1, 2], [3]], [1, [2]], [float("nan")], object(), ["a"], None]
)
def test_what_is_no_input_is_refused(data):
    with pytest.raises((TypeError, ValueError)):
        input_tensor(data)
