import os
import threading

import pytest
import redis

from ingest.listener import Listener
from ingest.stream import EventStream
from ingest.tests import builders
from istore import failpoints
from tests.redis_databases import database_url


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch):
    """That blobs are synced is tested where they are put."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def server(worker_id):
    """A database of the embedded server for each worker of the tests."""
    url = database_url(3, worker_id)
    with redis.Redis.from_url(url) as client:
        client.flushdb()
        client.url = url
        yield client
        client.flushdb()


@pytest.fixture
def stream(server):
    stream = EventStream(server.url, consumer="one")
    yield stream
    stream.close()


@pytest.fixture
def stopping():
    return threading.Event()


@pytest.fixture
def listener(stream, stopping, settings):
    """A listener that meets again at once what it left."""
    settings.ISTORE_EVENT_IDLE_SECONDS = 0
    return Listener(stream, stopping)


@pytest.fixture
def deliver(stream, listener):
    """Publish events and let the listener have them, once."""

    def deliver(*events) -> None:
        stream.publish(events)
        listener.step(block_ms=1)

    return deliver


@pytest.fixture
def arm():
    yield failpoints.arm
    failpoints.arm("")


@pytest.fixture(params=["packs", "objects"])
def stored_as(request, monkeypatch):
    """What ``capture`` makes: members of packs, or objects of their own."""
    monkeypatch.setattr(builders, "PACKED", request.param == "packs")
