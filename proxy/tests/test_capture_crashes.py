"""The capture process is killed between any two steps: acknowledged is kept, exactly once."""

import pytest

from proxy.tests.conftest import wait_until
from proxy.tests.crashing import CALLS, acknowledged, assert_whole, start_again

pytestmark = pytest.mark.django_db

IN_THE_CAPTURE = [
    "capture.inputs_put",
    "capture.records_put",
    "capture.published",
    "capture.dropped",
]


@pytest.mark.parametrize("name", IN_THE_CAPTURE)
def test_a_capture_that_is_killed_loses_nothing(start_proxy, store, upstream, name):
    store.model(upstream.url, "echo")
    proxied = start_proxy(ISTORE_FAILPOINTS=f"{name}:1=kill")
    kept = acknowledged(proxied)
    assert len(kept) == CALLS  # calls do not notice
    ended = "capture process ended with exit status -9"
    wait_until(lambda: ended in proxied.log, 20)
    start_again(proxied)
    assert_whole(proxied, kept)
