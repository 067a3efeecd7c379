"""Batches of rows through the proxy: an inference each, under the ids of the header."""

from __future__ import annotations

import hashlib

import numpy as np
import orjson
import pytest
import tritonclient.http

pytestmark = pytest.mark.django_db

CLASSES = {"upstream_model": "rows", "task_type": "Text Classification"}


def asked(shape, data, datatype="BYTES", name="text", **members):
    tensor = {"name": name, "datatype": datatype, "shape": shape, "data": data}
    return {"inputs": [tensor], **members}


def ids_of(answer) -> list[str]:
    assert answer.headers["Inference-Store"] == "recorded"
    return answer.headers["Inference-Id"].split(",")


def probabilities(proxied, marker) -> list[float]:
    answer = orjson.loads(proxied.blob(marker["event"]["inference_storage_key"]))
    return answer["outputs"][0]["data"]


def input_of(proxied, marker) -> bytes:
    return proxied.blob(marker["event"]["data_storage_key"])


def test_each_text_has_its_input_hash_answer_and_metadata(proxied, store, upstream):
    store.model(upstream.url, "texts", **CLASSES)
    texts = ["a ship", "no ship", "Ähre"]
    metadata = [{"camera": n} for n in range(3)]
    body = asked([3], texts, id="batch", parameters={"metadata": metadata})

    answer = proxied.infer("texts", body)

    assert ids_of(answer) == ["batch-0", "batch-1", "batch-2"]
    for n, text in enumerate(texts):
        marker = proxied.marker(f"batch-{n}")
        assert input_of(proxied, marker) == text.encode()
        digest = hashlib.sha256(text.encode()).hexdigest()
        assert marker["input"]["sha256"] == digest
        assert probabilities(proxied, marker) == [n / 100, (100 - n) / 100]
        assert marker["metadata"] == [{"key": "camera", "type": "int", "value": str(n)}]
        assert marker["request_part"] == [n, 3]
        assert marker["warnings"] == []


def test_a_data_frame_is_a_row_each(proxied, store, upstream):
    store.model(
        upstream.url,
        "frames",
        upstream_model="rows",
        task_type="Tabular Classification",
    )
    columns = [("age", "FP64", [31, 32]), ("city", "BYTES", ["Oslo", "Kyiv"])]
    inputs = [
        {"name": name, "datatype": datatype, "shape": [2, 1], "data": data}
        for name, datatype, data in columns
    ]
    body = {"id": "frame", "parameters": {"content_type": "pd"}, "inputs": inputs}

    assert ids_of(proxied.infer("frames", body)) == ["frame-0", "frame-1"]
    kept = orjson.loads(input_of(proxied, proxied.marker("frame-1")))
    assert kept == {"age": 32, "city": "Kyiv"}


def test_a_batch_of_one_keeps_its_id(proxied, store, upstream):
    store.model(upstream.url, "singles", **CLASSES)

    answer = proxied.infer("singles", asked([1], ["a ship"], id="single"))

    assert ids_of(answer) == ["single"]
    assert input_of(proxied, proxied.marker("single")) == b"a ship"


def test_an_answer_of_one_piece_leaves_a_batch_whole(proxied, store, upstream):
    store.model(upstream.url, "verdicts", **CLASSES | {"upstream_model": "verdict"})

    answer = proxied.infer("verdicts", asked([2], ["a", "b"], id="claim"))

    assert ids_of(answer) == ["claim"]
    kept = orjson.loads(input_of(proxied, proxied.marker("claim")))
    assert kept["data"] == ["a", "b"]


def test_too_large_a_batch_is_one_record_that_says_so(start_proxy, store, upstream):
    store.model(upstream.url, "limited", **CLASSES)
    proxied = start_proxy(ISTORE_REQUEST_PARTS_MAX="3")

    assert len(ids_of(proxied.infer("limited", asked([3], ["a"] * 3)))) == 3
    answer = proxied.infer("limited", asked([4], ["a"] * 4, id="four"))

    assert ids_of(answer) == ["four"]
    assert "more than the 3" in " ".join(proxied.marker("four")["warnings"])


@pytest.mark.parametrize("is_binary", [True, False])
def test_rows_of_the_triton_client(proxied, store, upstream, is_binary):
    name = f"triton-{is_binary}".lower()
    store.model(
        upstream.url,
        name,
        upstream_model="rows",
        task_type="Tabular Classification",
    )
    rows = np.arange(12, dtype=np.float32).reshape(3, 4)
    given = tritonclient.http.InferInput("x", [3, 4], "FP32")
    given.set_data_from_numpy(rows, binary_data=is_binary)
    client = tritonclient.http.InferenceServerClient(proxied.url.split("://")[1])
    headers = {"Authorization": f"Bearer {store.token()}"}

    answer = client.infer(name, [given], headers=headers, request_id=name)

    assert answer.as_numpy("probabilities").shape == (3, 2)
    for n in range(3):
        marker = proxied.marker(f"{name}-{n}")
        kept = orjson.loads(input_of(proxied, marker))
        assert (kept["shape"], kept["data"]) == ([1, 4], rows[n].tolist())
        assert probabilities(proxied, marker)[0] == pytest.approx(n / 100)
