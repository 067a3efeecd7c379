"""Roles, limits and headers of which there may be one."""

import socket
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection

import orjson
import pytest
import requests

from istore.models import Role
from proxy.tests.conftest import Proxied, new_token, request_body, wait_until

pytestmark = pytest.mark.django_db
PATH = "/v2/models/echo/infer"


@pytest.fixture(autouse=True)
def echo(store, upstream):
    return store.model(upstream.url, "echo")


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


# -- roles


@pytest.mark.parametrize("ending", ["/infer", "", "/ready", "/config", "/stats"])
def test_a_viewer_hears_which_role_is_needed(proxied, store, ending):
    method = "POST" if ending == "/infer" else "GET"
    answer = requests.request(
        method,
        f"{proxied.url}/v2/models/echo{ending}",
        json=request_body(),
        headers=bearer(store.viewer),
        timeout=20,
    )
    assert answer.status_code == 403
    assert "editor" in answer.json()["error"]
    assert "viewer" in answer.json()["error"]


def test_a_role_says_nothing_of_models_that_are_absent_or_foreign(proxied, store):
    foreign_viewer = store.do(new_token, store.projects[1], Role.VIEWER)
    answers = [
        proxied.infer("absent", headers=bearer(store.viewer)),
        proxied.infer("echo", headers=bearer(store.foreign)),
        proxied.infer("echo", headers=bearer(foreign_viewer)),
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.content for answer in answers}) == 1


# -- limits


def test_a_token_makes_so_many_calls_in_a_minute(start_proxy, store):
    limited = start_proxy(ISTORE_RATE_PER_MINUTE="20")
    headers = bearer(store.token())

    def calls() -> list[requests.Response]:
        return [limited.infer("echo", headers=headers) for _ in range(41)]

    # Within 41 calls one minute at most begins anew.
    answers = calls()
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert 20 <= len(answers) - len(refused) <= 40
    assert all(1 <= int(answer.headers["Retry-After"]) <= 61 for answer in refused)
    assert limited.infer("echo", headers=bearer(store.token())).status_code == 200


def test_two_proxies_count_the_calls_of_a_token_together(
    start_proxy, store, tmp_path_factory
):
    first = start_proxy(ISTORE_PROXY_RATE_PER_MINUTE="20")
    environment = {"ISTORE_PROXY_RATE_PER_MINUTE": "20"}
    second = Proxied(store, tmp_path_factory.mktemp("home"), environment).start()
    try:
        headers = bearer(store.token())

        def is_used_up(proxied: Proxied) -> bool:
            return proxied.infer("echo", headers=headers).status_code == 429

        wait_until(lambda: is_used_up(first), 60)
        # Five calls: the second has told its own, and heard of those of the first.
        wait_until(lambda: any(is_used_up(second) for _ in range(5)), 60)
    finally:
        second.stop()


def test_wrong_tokens_of_an_address_are_looked_up_so_often_and_no_more(
    start_proxy, store
):
    limited = start_proxy(ISTORE_WRONG_TOKENS_PER_MINUTE="20")
    assert limited.infer("echo").status_code == 200

    def guess(number: int) -> int:
        return limited.infer("echo", headers=bearer(f"ist_{number:043}")).status_code

    with ThreadPoolExecutor(16) as threads:
        statuses = list(threads.map(guess, range(300)))
    assert set(statuses) == {401, 429}
    # Eight are looked up at once, and a few come back while the flood goes on.
    assert 20 <= statuses.count(401) <= 40
    # Whoever was known goes on, from the same address.
    assert limited.infer("echo").status_code == 200
    answer = limited.infer("echo", headers=bearer("ist_" + "z" * 43))
    assert answer.status_code == 401 or int(answer.headers["Retry-After"]) <= 61


# -- headers of which there may be one


def raw_call(proxied, lines: list[bytes], body: bytes) -> tuple[int, bytes]:
    """As it is written here: libraries would mend it."""
    head = b"\r\n".join([b"POST %b HTTP/1.1" % PATH.encode(), *lines, b"", b""])
    with socket.create_connection(("127.0.0.1", proxied.port), timeout=20) as client:
        client.sendall(head + body)
        answer = b""
        while b"\r\n\r\n" not in answer and (piece := client.recv(65536)):
            answer += piece
    return int(answer.split(b" ", 2)[1]), answer


def lines_of(store, body: bytes, *more: bytes) -> list[bytes]:
    return [
        b"Host: store",
        b"Authorization: Bearer " + store.secret.encode(),
        b"Content-Length: %d" % len(body),
        b"Connection: close",
        *more,
    ]


BODY = orjson.dumps(request_body())


@pytest.mark.parametrize(
    "again",
    [
        b"Authorization: Bearer ist_other",
        b"authorization: Basic eDp5",
        b"Content-Length: %d" % (len(BODY) - 1),
        b"Host: other",
        b"Content-Type: text/plain\r\nContent-Type: application/json",
        b"Content-Encoding: gzip\r\nContent-Encoding: identity",
        b"Inference-Header-Content-Length: 7\r\nInference-Header-Content-Length: 9",
        b"Upstream-Authorization: a\r\nUpstream-Authorization: b",
    ],
)
def test_a_call_that_can_be_read_in_two_ways_is_refused(
    proxied, store, upstream, again
):
    before = len(upstream.seen)
    status, answer = raw_call(proxied, lines_of(store, BODY, again), BODY)
    assert status == 400, answer
    assert len(upstream.seen) == before


def test_a_length_beside_chunks_counts_for_nothing(proxied, store):
    """The server takes the length away before anybody here could see it."""
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
    lines = lines_of(store, BODY[:-9], b"Transfer-Encoding: chunked")
    status, answer = raw_call(proxied, lines, chunks)
    assert (status, b"[77]" in answer) in ((200, True), (400, False))


def test_headers_that_may_come_twice_do(proxied, store):
    more = (b"Accept: a/b", b"Accept: */*", b"tracestate: a=1", b"tracestate: b=2")
    status, _ = raw_call(proxied, lines_of(store, BODY, *more), BODY)
    assert status == 200


def test_an_ambiguous_call_is_refused_at_every_address(proxied, store):
    twice = [("Authorization", "Bearer a"), ("Authorization", "Bearer b")]
    for path in ("/v2", "/v2/health/ready", "/api/v1/inferencesessions/a/infer/b"):
        connection = HTTPConnection("127.0.0.1", proxied.port, timeout=20)
        connection.putrequest("POST" if "api" in path else "GET", path)
        for name, value in twice:
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        assert (answer.status, b"more than once" in answer.read()) == (400, True)
        connection.close()
