"""Bodies that break off at the proxy, over raw sockets: refused, and nothing is asked."""

from __future__ import annotations

import socket
import time

import pytest

from proxy.tests.conftest import request_body

pytestmark = pytest.mark.django_db

CHUNKED = b"Transfer-Encoding: chunked"
TEN = b"Content-Length: 10"
CUT = {
    "fewer bytes than were said": (TEN, b"{}"),
    "none of the bytes that were said": (TEN, b""),
    "chunks without an end": (CHUNKED, b"2\r\n{}\r\n"),
    "a chunk cut short": (CHUNKED, b"a\r\n{}"),
    "a chunk without a length": (CHUNKED, b"zz\r\n{}\r\n0\r\n\r\n"),
    "a bad chunk after a good one": (CHUNKED, b"2\r\n{}\r\nzz\r\n{}\r\n0\r\n\r\n"),
    "a chunk longer than it says": (CHUNKED, b"1\r\n{}\r\n0\r\n\r\n"),
}
PATHS = (
    "/v2/models/mirror/infer",
    "/api/v1/inferencesessions/{session}/infer/generate",
)


def answered(proxied, path: str, secret: str, header: bytes, body: bytes) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        f"Authorization: Bearer {secret}\r\n"
    )
    with socket.create_connection(("127.0.0.1", proxied.port)) as client:
        client.settimeout(10)
        client.sendall(head.encode() + header + b"\r\n\r\n")
        time.sleep(0.05)
        client.sendall(body)
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(65536), b""))


@pytest.mark.parametrize("name", CUT)
def test_a_body_that_breaks_off_is_a_400_and_reaches_nobody(
    proxied, store, upstream, name
):
    store.model(upstream.url, "mirror")
    configuration = {"url": upstream.url, "protocol": "json"}
    session, secret = store.session("url", configuration)
    before = len(upstream.seen)
    for path, token in zip(PATHS, (store.secret, secret), strict=True):
        where = path.format(session=session.id.hex)
        said = answered(proxied, where, token, *CUT[name])
        assert said.startswith(b"HTTP/1.1 400"), (path, said)
        assert b"broke off" in said
    assert len(upstream.seen) == before
    assert proxied.infer("mirror", request_body()).ok
