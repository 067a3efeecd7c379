"""The twins that are awaited do what the others do."""

from __future__ import annotations

import httpx2
import pytest

from inference_store import aio, connection, errors, models
from inference_store.aio import inference, metadata

EVERYTHING = models.NewGetInferencesRequest()


async def test_a_call_is_awaited(async_client, store):
    store.says({"count": 3})
    assert await inference.count_inferences("m", EVERYTHING) == 3
    assert store.last.headers["authorization"] == "Bearer ist_secret"


async def test_failures_are_tried_again(async_client, store):
    store.says(httpx2.ConnectError, (503, {}, {"Retry-After": "2"}), {"count": 1})
    assert await inference.count_inferences("m", EVERYTHING) == 1
    assert store.waits == [0.125, 2.25]


async def test_tries_end(async_client, store):
    store.says(httpx2.ConnectError)
    with pytest.raises(errors.ConnectionFailed):
        await inference.count_inferences("m", EVERYTHING)


async def test_pages_are_walked(async_client, store, row):
    store.says(
        {"count": 2},
        {"results": [row("a")], "next": "c"},
        {"results": [row("b")], "next": None},
    )
    found = inference.iter_inferences("m", page_size=1, progress=True)
    assert [each.inference_id async for each in found] == ["a", "b"]


async def test_several_steps_follow_each_other(async_client, store, row):
    standard = models.NewStandardMetadataRequest(
        data_hash=metadata.get_data_hash(b"x"),
        data_size=1,
        task_type="Object Detection",
        inference_action="detect",
    )
    collection = models.NewInferenceAndMetadataCollection(
        metadata=models.NewMetadataCollectionRequest(standard_metadata=standard)
    )
    grant = {"data_presigned_url": "http://b/put", "data_storage_key": "k"}
    store.says((201, grant), (200, b""), (201, row("a")))
    stored = await inference.create_inference_storage_request(
        "m", "a", b"x", collection
    )
    assert stored.inference_id == "a"
    assert [each.method for each in store.requests] == ["POST", "PUT", "POST"]


async def test_a_model_is_asked(async_client, store):
    model = {
        "model_id": "m",
        "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-01T00:00:00Z",
        "embedding_size": 0,
        "proxy_url": "http://proxy.example",
    }
    headers = {"Inference-Id": "a", "Inference-Store": "recorded"}
    store.says(model, (200, {"outputs": []}, headers))
    served = await aio.get_model("m")
    answer = await served.detect(b"picture")
    assert (answer.inference_id, answer.recorded) == ("a", True)


async def test_connect_reads_the_environment(monkeypatch):
    monkeypatch.setenv("ISTORE_URL", "http://elsewhere")
    async with aio.connect() as client:
        assert client.url == "http://elsewhere"
    connection.current_async = None
    with pytest.raises(errors.NotConnected):
        await inference.count_inferences("m", EVERYTHING)


def test_a_client_outlives_an_event_loop(async_client, store):
    import asyncio

    store.says({"count": 1})
    for _ in range(2):
        assert asyncio.run(inference.count_inferences("m", EVERYTHING)) == 1
