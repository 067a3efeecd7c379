"""Bursts of calls to a proxy that will be killed, and what must hold when it is back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import requests

from proxy.tests.conftest import Proxied, request_body, wait_until

CALLS = 12


def acknowledged(proxied: Proxied) -> set[str]:
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


def start_again(proxied: Proxied) -> None:
    proxied.kill()
    del proxied.environment["ISTORE_FAILPOINTS"]
    proxied.start()


def assert_whole(proxied: Proxied, kept: set[str]) -> None:
    """One set of blobs and an event for each, and nothing that is only half there."""
    wait_until(proxied.is_drained, 20)
    markers = proxied.markers()
    stored = [marker["event"]["inference_id"] for marker in markers]
    assert len(stored) == len(set(stored))
    assert kept <= set(stored)
    events = {settled(event.as_dict()) for event in proxied.events()}
    assert events == {settled(marker["event"]) for marker in markers}
    for marker in markers:
        event = marker["event"]
        assert proxied.blob(event["data_storage_key"]) == b"a ship"
        blob = proxied.blob(event["inference_storage_key"])
        assert blob.decode() == marker["answer"]["text"]
    # A put that was killed leaves a ".partial", which is no blob and has no key.
    blobs = [path for path in proxied.blobs.rglob("[!.]*") if path.is_file()]
    assert len(blobs) == 3 * len(markers)


def settled(event: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """What stays as it is however often the event is published."""
    return tuple(each for each in event.items() if each[0] != "event_published_at")
