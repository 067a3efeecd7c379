"""A blob store that fails: nothing false is published, and capture recovers by itself."""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from ingest.events import InferenceEvent
from istore.blobs.keys import MemberKey
from istore.tests.s3_relay import (
    BUCKET,
    Answer,
    Relay,
    Request,
    client,
    start_moto,
    variables,
)
from proxy.tests.conftest import Proxied, request_body, wait_until
from proxy.tests.crashing import CALLS, acknowledged

pytestmark = pytest.mark.django_db

FAULTS = 8  # of puts, before the store is well again
ERROR = b"<?xml version='1.0'?><Error><Code>%s</Code><Message>no</Message></Error>"


def refused(request: Request, send) -> Answer:
    return Answer(503, {}, ERROR % b"SlowDown")


def slow(request: Request, send) -> Answer:
    time.sleep(1)
    return send(request)


def lost(request: Request, send) -> Answer:
    """It is stored, and the answer does not arrive."""
    send(request)
    raise ConnectionResetError


def broken_off(request: Request, send) -> Answer:
    """Half of the body arrived."""
    return Answer(400, {}, ERROR % b"IncompleteBody")


def error_in_200(request: Request, send) -> Answer:
    return Answer(200, {}, ERROR % b"InternalError")


@pytest.fixture
def relay():
    moto = start_moto()
    relay = Relay(moto.get_host_and_port())
    relay.start()
    client(relay.url).create_bucket(Bucket=BUCKET)
    yield relay
    relay.stop()
    moto.stop()


def assert_kept(
    kept: set[str], events: list[InferenceEvent], read: Callable[[str], bytes]
) -> None:
    """Each call that was acknowledged has an event, and what events name can be read."""
    assert {event.inference_id for event in events} == kept
    for event in events:
        marker = orjson.loads(read(event.metadata_storage_key))
        for key, said in (
            (event.data_storage_key, marker["input"]),
            (event.inference_storage_key, marker["answer"]),
        ):
            assert hashlib.sha256(read(key)).hexdigest() == said["sha256"]


@pytest.mark.parametrize("fault", [refused, slow, lost, broken_off, error_in_200])
def test_an_object_store_that_fails_loses_and_tells_nothing_false(
    start_proxy, store, upstream, relay, fault
):
    store.model(upstream.url, "echo")
    left = [FAULTS]

    def failing(request: Request, send) -> Answer:
        if request.method == "PUT" and left[0] > 0:
            left[0] -= 1
            return fault(request, send)
        return send(request)

    proxied = start_proxy(**variables(relay.url), ISTORE_PACK_LINGER_MS="200")
    relay.fault = failing
    kept = acknowledged(proxied)
    assert len(kept) == CALLS  # the spool keeps them meanwhile

    wait_until(lambda: {e.inference_id for e in proxied.events()} == kept, 60)
    wait_until(proxied.is_drained, 60)

    held = client(relay.url)

    def read(key: str) -> bytes:
        member = MemberKey.parse(key)
        body = held.get_object(Bucket=BUCKET, Key=member.pack)["Body"].read()
        return body[member.offset : member.offset + member.length]

    assert_kept(kept, proxied.events(), read)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 4 MiB."""
    path = tmp_path / "blobs"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", path]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounts a file system")
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def test_a_disk_that_was_full_gets_what_waited_in_the_spool(
    start_proxy, store, upstream, small_disk
):
    store.model(upstream.url, "echo")
    proxied = start_proxy()
    filling = small_disk / "filling"
    fill(filling)
    kept = acknowledged(proxied)
    assert len(kept) == CALLS
    time.sleep(2)  # some attempts
    assert proxied.events() == [] and not list(small_disk.rglob("*.records"))

    filling.unlink()

    wait_until(lambda: {e.inference_id for e in proxied.events()} == kept, 60)
    wait_until(proxied.is_drained, 60)
    assert_kept(kept, proxied.events(), proxied.blob)


def fill(path: Path) -> None:
    with open(path, "wb", 0) as file:
        for size in (2**16, 2**12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


def test_a_spool_that_is_full_says_so(start_proxy, store, upstream, small_disk: Path):
    store.model(upstream.url, "echo")
    proxied: Proxied = start_proxy(ISTORE_SPOOL_MAX_BYTES="100K")
    fill(small_disk / "filling")
    told, recorded = [], set()
    for number in range(40):
        body = request_body(id=f"large-{number}")
        body["inputs"][0]["data"] = ["x" * 10_000]
        answer = proxied.infer("echo", body)
        assert answer.status_code == 200
        told.append(answer.headers["Inference-Store"])
        if told[-1] == "recorded":
            recorded.add(body["id"])
    assert recorded and told[-1].startswith("not-recorded; reason=")

    (small_disk / "filling").unlink()

    wait_until(lambda: {e.inference_id for e in proxied.events()} == recorded, 60)
    assert_kept(recorded, proxied.events(), proxied.blob)
