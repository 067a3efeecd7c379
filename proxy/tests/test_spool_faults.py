"""A real proxy whose disk is slow, whose spool is damaged, and that is killed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from proxy.spool.spool_files import spool_files_in
from proxy.tests.conftest import Proxied, request_body, wait_until
from proxy.tests.crashing import start_again

pytestmark = pytest.mark.django_db

LARGE = "x" * 3_000_000


def outcomes(
    proxied: Proxied, count: int, text: str, prefix: str = "call"
) -> dict[str, str]:
    """What the header said of each call, all made at once."""

    def call(number: int) -> tuple[str, str]:
        name = f"{prefix}-{number}"
        body = request_body(id=name)
        body["inputs"][0]["data"] = [text]
        answer = proxied.infer("echo", body, timeout=60)
        assert answer.status_code == 200
        return name, answer.headers["Inference-Store"]

    with ThreadPoolExecutor(count) as threads:
        return dict(threads.map(call, range(count)))


def stored(proxied: Proxied) -> set[str]:
    wait_until(proxied.is_drained, 60)
    return {marker["event"]["inference_id"] for marker in proxied.markers()}


@pytest.mark.parametrize("is_killed", [False, True])
def test_header_and_store_agree_on_a_disk_that_is_slow(
    start_proxy, store, upstream, is_killed
):
    """Four bodies of 3 MB at once, on a disk that takes half a second for a sync."""
    store.model(upstream.url, "echo")
    proxied = start_proxy(
        ISTORE_SPOOL_DEADLINE_MS="50",
        ISTORE_SPOOL_DEADLINE_MAX_MS="50",
        ISTORE_FAILPOINTS="proxy.spool_appended=sleep=0.5",
    )
    told = {}
    for turn in range(2):
        told |= outcomes(proxied, 4, LARGE, f"turn-{turn}")
    if is_killed:
        start_again(proxied)
    recorded = {name for name, said in told.items() if said == "recorded"}
    assert stored(proxied) == recorded
    assert recorded


def test_a_group_on_a_disk_that_hangs_is_not_there_after_a_kill(
    start_proxy, store, upstream
):
    store.model(upstream.url, "echo")
    proxied = start_proxy(
        ISTORE_SPOOL_DEADLINE_MS="50",
        ISTORE_SPOOL_SYNC_SECONDS="1",
        ISTORE_FAILPOINTS="proxy.spool_appended:2=sleep=60",
    )
    kept = proxied.infer("echo", request_body(id="kept"))
    assert kept.headers["Inference-Store"] == "recorded"
    told = outcomes(proxied, 3, "small")
    assert set(told.values()) == {"not-recorded; reason=spool-slow"}
    start_again(proxied)
    assert stored(proxied) == {"kept"}
    assert not list((proxied.home / "spool").glob("*.damaged"))


def test_a_burst_right_after_the_start_is_recorded(start_proxy, store, upstream):
    store.model(upstream.url, "echo")
    proxied = start_proxy(
        ISTORE_SPOOL_DEADLINE_MS="50",
        ISTORE_FAILPOINTS="proxy.spool_appended=sleep=0.1",  # twice the deadline
    )
    told = outcomes(proxied, 16, "a ship")
    assert set(told.values()) == {"recorded"}


def test_a_damaged_length_loses_its_own_entry_alone(start_proxy, store, upstream):
    store.model(upstream.url, "echo")
    proxied = start_proxy(ISTORE_FAILPOINTS="capture.inputs_put=sleep=60")
    names = [f"call-{number:02}" for number in range(30)]
    for name in names:
        answer = proxied.infer("echo", request_body(id=name))
        assert answer.headers["Inference-Store"] == "recorded"
    proxied.kill()
    spool = proxied.home / "spool"
    damaged = []
    for segment in spool_files_in(spool):
        content = bytearray(segment.path.read_bytes())
        ends = [end for _, end in segment.entries()]
        if len(ends) > 4:
            content[ends[1] + 8] ^= 0x10  # the length of the third
            segment.path.write_bytes(content)
            damaged.append(segment)
    assert damaged
    del proxied.environment["ISTORE_FAILPOINTS"]
    proxied.start()
    assert len(set(names) - stored(proxied)) == len(damaged)
    assert len(list(spool.glob("*.damaged"))) == len(damaged)
    metrics = requests.get(f"{proxied.url}/metrics", timeout=10).text
    assert f"istore_spool_files_aside {len(damaged)}.0" in metrics
