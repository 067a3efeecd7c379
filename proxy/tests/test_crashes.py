"""Killed between any two steps, then started again: acknowledged is kept, exactly once."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from proxy.tests.conftest import request_body, wait_until
from proxy.tests.crashing import CALLS, acknowledged, assert_whole, start_again

pytestmark = pytest.mark.django_db

IN_THE_PROXY = [
    "proxy.forwarded",
    "proxy.spool_appended",
    "proxy.spool_synced",
    "proxy.answered",
]


@pytest.mark.parametrize("name", IN_THE_PROXY)
def test_a_proxy_that_is_killed_loses_nothing(start_proxy, store, upstream, name):
    store.model(upstream.url, "echo")
    proxied = start_proxy(ISTORE_FAILPOINTS=f"{name}:3=kill")
    kept = acknowledged(proxied)
    assert len(kept) < CALLS
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
