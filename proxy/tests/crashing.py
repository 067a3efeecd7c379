"""Bursts of calls to a proxy that will be killed, and what must hold when it is back."""

from __future__ import annotations

import hashlib
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
    """A record and an event for each, and nothing that is only half there.

    What was captured again after the kill has a second record, which the store takes for a copy.
    """
    wait_until(proxied.is_drained, 20)
    markers = proxied.markers()
    assert kept <= {marker["event"]["inference_id"] for marker in markers}
    events = {settled(event.as_dict()) for event in proxied.events()}
    assert events <= {settled(marker["event"]) for marker in markers}
    assert kept <= {event.inference_id for event in proxied.events()}
    for marker in markers:
        event = marker["event"]
        assert proxied.blob(event["data_storage_key"]) == b"a ship"
        blob = proxied.blob(event["inference_storage_key"])
        assert hashlib.sha256(blob).hexdigest() == marker["answer"]["sha256"]


def settled(event: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """What stays as it is however often the event is published."""
    return tuple(each for each in event.items() if each[0] != "event_published_at")
