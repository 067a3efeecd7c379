"""Small requests that are large work: the others are answered all the while."""

from __future__ import annotations

import base64
import gzip
import threading
import time
from pathlib import Path

import orjson
import pytest
import requests

from proxy.tests.conftest import request_body

pytestmark = pytest.mark.django_db

LISTS = b'{"inputs":[' + b"[]," * 20_000_000 + b"[]]}"
GZIP = {"Content-Encoding": "gzip"}


@pytest.fixture(scope="module")
def roomy(store, tmp_path_factory):
    """A proxy with the limits that it has by default."""
    from proxy.tests.conftest import Proxied

    proxied = Proxied(store, tmp_path_factory.mktemp("roomy"), {}).start()
    yield proxied
    proxied.stop()


@pytest.fixture
def mirror(store, upstream, roomy):
    store.model(upstream.url, "mirror")
    assert roomy.infer("mirror", request_body()).ok
    return roomy


class Watch:
    """Asks whether the proxy lives, again and again; the longest answer and memory."""

    def __init__(self, proxied) -> None:
        self.proxied = proxied
        self.longest = 0.0
        self.most_bytes = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Watch:
        self.before = self._resident()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        with requests.Session() as session:
            while not self._done.wait(0.01):
                began = time.monotonic()
                session.get(f"{self.proxied.url}/v2/health/live", timeout=60)
                self.longest = max(self.longest, time.monotonic() - began)
                self.most_bytes = max(self.most_bytes, self._resident())

    def _resident(self) -> int:
        """Of the server and what belongs to it, without what they share of files."""
        found = 0
        for status in Path("/proc").glob("[0-9]*/status"):
            try:
                stat = status.with_name("stat").read_text().rpartition(")")[2].split()
                if int(stat[2]) != self.proxied.process.pid:  # its group
                    continue
                for line in status.read_text().splitlines():
                    if line.startswith("RssAnon:"):
                        found += 1024 * int(line.split()[1])
            except (OSError, ValueError):
                continue
        return found


BODIES = {
    "lists": (gzip.compress(LISTS), GZIP),
    "lists as they are": (b'{"inputs":[' + b"[]," * 330_000 + b"[]]}", {}),
    "numbers": (gzip.compress(b'{"inputs":[' + b"1," * 30_000_000 + b"1]}"), GZIP),
    "objects": (gzip.compress(b'{"inputs":[' + b"{}," * 900_000 + b"{}]}"), GZIP),
    "members": (gzip.compress(b"", mtime=0) * 50_000, GZIP),
    "inputs": (
        orjson.dumps(
            {
                "inputs": [
                    {"name": "a", "datatype": "BYTES", "shape": [1], "data": ["x"]}
                ]
                * 15_000
            }
        ),
        {},
    ),
    "elements": (
        orjson.dumps(
            {
                "inputs": [
                    {
                        "name": "a",
                        "datatype": "BYTES",
                        "shape": [200_000],
                        "data": ["x"] * 200_000,
                    }
                ]
            }
        ),
        {},
    ),
    "a text of lists": (
        orjson.dumps(
            {
                "inputs": [
                    {
                        "name": "a",
                        "datatype": "BYTES",
                        "shape": [1],
                        "data": ["[" + "[]," * 300_000 + "[]]"],
                    }
                ]
            }
        ),
        {},
    ),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_small_request_of_large_work_holds_up_nobody(mirror, upstream, name):
    body, headers = BODIES[name]
    assert len(body) < 1_200_000
    plain = gzip.decompress(body) if headers else body
    seen = len(upstream.seen)
    with Watch(mirror) as watch:
        answer = mirror.infer("mirror", body, headers=headers, timeout=120)
    # It went on as it came, and is kept, or said not to be.
    assert upstream.seen[seen].body == body
    assert answer.headers["Inference-Store"].startswith(("recorded", "not-recorded"))
    # A second where it was 40: this machine may be busy with other tests.
    assert watch.longest < 1.5
    assert watch.most_bytes - watch.before < 8 * max(len(plain), 16 * 2**20)


def test_an_answer_of_large_work_holds_up_nobody(mirror, store, upstream):
    store.model(upstream.url, "lists")
    picture = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(64)).decode()
    pictures = {"name": "image", "datatype": "BYTES", "shape": [2]}
    body = {"id": "two", "inputs": [pictures | {"data": [picture] * 2}]}
    with Watch(mirror) as watch:
        answer = mirror.infer("lists", body, headers={"Accept-Encoding": "gzip"})
    assert answer.headers["Inference-Store"] == "recorded"
    assert watch.longest < 1.5
    assert watch.most_bytes - watch.before < 8 * 60 * 2**20


def test_what_is_held_counts_what_came_out_of_compressed_bodies(
    store, upstream, start_proxy
):
    store.model(upstream.url, "tight")
    proxied = start_proxy(ISTORE_PROXY_MAX_INFLIGHT_BYTES="8M")
    body = orjson.dumps(request_body(parameters={"pad": " " * 9 * 2**20}))
    answer = proxied.infer("tight", gzip.compress(body), headers=GZIP)
    assert answer.ok  # the copy alone has no room: it is kept as it came
    marker = proxied.marker(answer.headers["Inference-Id"])
    assert any("no room" in each for each in marker["warnings"])
