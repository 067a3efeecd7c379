"""Killed between any two steps, then started again: acknowledged is kept, exactly once."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from proxy.tests.conftest import request_body, wait_until

pytestmark = pytest.mark.django_db

IN_THE_PROXY = [
    "proxy.forwarded",
    "proxy.spool_appended",
    "proxy.spool_synced",
    "proxy.answered",
]
IN_THE_CAPTURE = [
    "capture.input_put",
    "capture.answer_put",
    "capture.metadata_put",
    "capture.published",
    "capture.dropped",
]
CALLS = 12


def acknowledged(proxied) -> set[str]:
    """The ids of a burst of calls whose answers said that they are recorded."""

    def call(number: int) -> str | None:
        name = f"call-{number}"
        try:
            answer = proxied.infer("echo", request_body(id=name), timeout=2)
        except requests.RequestException:
            return None
        return name if answer.headers["Inference-Store"] == "recorded" else None

    with ThreadPoolExecutor(4) as threads:
        return set(filter(None, threads.map(call, range(CALLS))))


def start_again(proxied) -> None:
    proxied.kill()
    del proxied.environment["ISTORE_FAILPOINTS"]
    proxied.start()


def assert_whole(proxied, kept: set[str]) -> None:
    """One set of blobs and an event for each, and nothing that is only half there."""
    wait_until(proxied.is_drained, 20)
    markers = proxied.markers()
    stored = [marker["event"]["inference_id"] for marker in markers]
    assert len(stored) == len(set(stored))
    assert kept <= set(stored)
    events = {tuple(event.as_dict().items()) for event in proxied.events()}
    assert events == {tuple(marker["event"].items()) for marker in markers}
    for marker in markers:
        event = marker["event"]
        assert proxied.blob(event["data_storage_key"]) == b"a ship"
        blob = proxied.blob(event["inference_storage_key"])
        assert blob.decode() == marker["answer"]["text"]
    # A put that was killed leaves a ".partial", which is no blob and has no key.
    blobs = [path for path in proxied.blobs.rglob("[!.]*") if path.is_file()]
    assert len(blobs) == 3 * len(markers)


@pytest.mark.parametrize("name", IN_THE_PROXY)
def test_a_proxy_that_is_killed_loses_nothing(start_proxy, store, upstream, name):
    store.model(upstream.url, "echo")
    proxied = start_proxy(ISTORE_FAILPOINTS=f"{name}:3=kill")
    kept = acknowledged(proxied)
    assert len(kept) < CALLS
    start_again(proxied)
    assert_whole(proxied, kept)


@pytest.mark.parametrize("name", IN_THE_CAPTURE)
def test_a_capture_that_is_killed_loses_nothing(start_proxy, store, upstream, name):
    store.model(upstream.url, "echo")
    proxied = start_proxy(ISTORE_FAILPOINTS=f"{name}:1=kill")
    kept = acknowledged(proxied)
    assert len(kept) == CALLS  # calls do not notice
    ended = "The capture process ended with status -9"
    wait_until(lambda: ended in proxied.log, 20)
    start_again(proxied)
    assert_whole(proxied, kept)


def test_a_proxy_that_is_told_to_stop_ends_its_calls(start_proxy, store, upstream):
    store.model(upstream.url, "slow")
    proxied = start_proxy()
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(proxied.infer, "slow", request_body(id="last"))
        wait_until(lambda: any(b"last" in seen.body for seen in upstream.seen), 5)
        proxied.stop()
        assert call.result().headers["Inference-Store"] == "recorded"
    proxied.start()
    assert_whole(proxied, {"last"})


def test_redis_away_is_no_reason_not_to_record(start_proxy, store, upstream):
    store.model(upstream.url, "echo")
    proxied = start_proxy(ISTORE_REDIS_URL="unix:///nowhere/redis.sock")
    kept = acknowledged(proxied)
    assert len(kept) == CALLS
    wait_until(proxied.is_drained, 20)
    stored = {marker["event"]["inference_id"] for marker in proxied.markers()}
    assert stored == kept
