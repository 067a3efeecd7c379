"""Services and sessions of a server, and archives, for programs that await."""

from __future__ import annotations

import hashlib
import json

import httpx2
import pytest

from inference_store import adapters, models
from inference_store.aio import downloading
from inference_store.aio.platform import inferencesessions
from inference_store.schema import InferenceInterface

INTERFACE = {
    "endpoint": "v1/generate",
    "inputPipeline": [{"kind": "Rename", "configuration": {"text": "prompt"}}],
    "outputPipeline": [{"kind": "Select", "configuration": {"fields": ["text"]}}],
}
SESSION = {
    "id": "s1",
    "inferenceService": {"id": "v1", "interface": {"endpoint": "generate"}},
    "status": "Ready",
    "proxyUrl": "http://proxy.example",
}


async def test_functions_of_sessions_are_awaited(async_client, store):
    store.says({"results": [SESSION], "next": None}, (202, {}))
    (found,) = await inferencesessions.query(status="Ready")
    assert found.id == "s1"
    assert await async_client.inferencesessions.ready("s1") is False


async def test_a_session_is_asked_through_its_pipelines(async_client, store):
    store.says(SESSION, [{"text": "and sails", "seconds": 1}], [{"text": "again"}])
    client = await async_client.inferencesessions.client(
        "s1", "ils_secret", interface=InferenceInterface(**INTERFACE)
    )
    assert await client.infer({"text": "A ship"}) == [{"text": "and sails"}]
    assert str(store.last.url) == (
        "http://proxy.example/api/v1/inferencesessions/s1/infer/v1/generate"
    )
    assert store.body == {"prompt": "A ship"}
    assert store.last.headers["authorization"] == "Bearer ils_secret"
    await client.infer({"text": "A ship"})
    assert len(store.requests) == 3  # where the proxy is is asked once


async def test_the_endpoint_is_the_session_s_own_when_none_is_said(async_client, store):
    store.says(SESSION, {"text": "one"})
    client = await async_client.inferencesessions.client(
        "s1", "ils_secret", proxy_url="http://other.example"
    )
    assert client.endpoint == "generate"
    assert await client.infer({"text": "A ship"}) == [{"text": "one"}]
    assert store.last.url.host == "other.example"
    store.says((200, {"ready": True}))
    assert await client.ready() is True


async def test_what_an_adapter_cannot_do_is_not_sent(async_client, store):
    interface = InferenceInterface(
        endpoint="e",
        inputPipeline=[{"kind": "Select", "configuration": {"fields": ["x"]}}],
    )
    client = await async_client.inferencesessions.client("s1", "t", interface=interface)
    with pytest.raises(adapters.AdapterError):
        await client.infer({"text": "A ship"})
    assert store.requests == []


@pytest.fixture
def task():
    archive = b"PK" * 50_000
    told = {"id": "t", "progress_count": 1, "expected_count": 1, "state": "complete"}
    return archive, models.ExportTask.model_validate_json(
        json.dumps(
            told
            | {
                "presigned_url": "http://blobs.example/t.zip",
                "archive_sha256": hashlib.sha256(archive).hexdigest(),
            }
        )
    )


async def test_an_archive_is_fetched_and_checked(task, store, tmp_path):
    archive, export = task
    store.says((200, archive))
    transport, steps = httpx2.MockTransport(store), []
    path = await downloading.download(
        export, tmp_path / "t.zip", steps.append, transport
    )
    assert path.read_bytes() == archive
    assert sum(steps) == len(archive)
    assert "authorization" not in store.last.headers


@pytest.mark.parametrize("answer", [(200, b"PK"), (403, b"")])
async def test_what_is_not_the_archive_leaves_no_file(task, store, tmp_path, answer):
    store.says(answer)
    with pytest.raises(downloading.DownloadFailed):
        await downloading.download(
            task[1], tmp_path / "t.zip", transport=httpx2.MockTransport(store)
        )
    assert list(tmp_path.iterdir()) == []


async def test_a_task_without_an_archive_is_not_asked_for(task, store, tmp_path):
    export = task[1].model_copy(update={"presigned_url": None})
    with pytest.raises(downloading.DownloadFailed, match="no archive"):
        await downloading.download(export, tmp_path / "t.zip")
    assert list(tmp_path.iterdir()) == []
