import socket
import time
from datetime import UTC, datetime, timedelta

import pytest
import requests

from proxy.tests.conftest import free_port, request_body, wait_until

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def echo(store, upstream, proxied):
    """Whatever was refused, nothing of it is there and the process lives."""
    model = store.model(upstream.url, "echo")
    before = len(upstream.seen)
    yield model
    assert proxied.infer("echo", request_body(id="after")).ok
    refused = [seen for seen in upstream.seen[before:-1] if b"refused" in seen.body]
    assert refused == []
    stored = [each["event"]["inference_id"] for each in proxied.markers()]
    assert not [each for each in stored if "refused" in each]


def refused(answer: requests.Response, status: int) -> str:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert answer.json().keys() == {"error"}
    return answer.json()["error"]


@pytest.mark.parametrize("none", ["", None])
def test_an_empty_id_is_none(proxied, none):
    assert (
        len(proxied.infer("echo", request_body(id=none)).headers["Inference-Id"]) == 36
    )


def test_a_body_that_is_too_large_is_refused(proxied):
    body = b"refused" + bytes(100 * 2**20)
    refused(proxied.infer("echo", body), 413)


def test_a_large_body_in_chunks_is_refused(proxied):
    chunks = (b"refused" * 150_000 for _ in range(20))
    answer = requests.post(
        f"{proxied.url}/v2/models/echo/infer",
        data=chunks,
        headers={"Authorization": f"Bearer {proxied.store.secret}"},
        timeout=20,
    )
    refused(answer, 413)


def test_a_body_that_does_not_come_is_given_up(proxied):
    head = (
        "POST /v2/models/echo/infer HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: Bearer {proxied.store.secret}\r\nContent-Length: 100\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", proxied.port)) as client:
        client.sendall(head.encode() + b"refused")
        client.settimeout(5)
        assert client.recv(1000).startswith(b"HTTP/1.1 408")


def test_a_refused_body_that_is_held_back_is_not_asked_for(proxied):
    head = (
        "POST /v2/models/echo/infer HTTP/1.1\r\nHost: x\r\n"
        "Content-Length: 100\r\nExpect: 100-continue\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", proxied.port)) as client:
        client.settimeout(5)
        client.sendall(head.encode())
        said = b"".join(iter(lambda: client.recv(65536), b""))
    assert said.startswith(b"HTTP/1.1 401")


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "Bearer nope", "Basic eDp5", "Bearer é"],
)
def test_without_a_valid_token_nobody_is_let_in(proxied, authorization):
    headers = {"Authorization": authorization and authorization.encode("latin-1")}
    answer = proxied.infer("echo", b"refused", headers=headers)
    refused(answer, 401)
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_an_expired_token_is_none(proxied, store):
    late = store.token(expires_at=datetime.now(UTC) - timedelta(seconds=1))
    headers = {"Authorization": f"Bearer {late}"}
    refused(proxied.infer("echo", b"refused", headers=headers), 401)


def test_absent_and_foreign_models_are_the_same_404(proxied, store):
    said = {refused(proxied.infer("absent", b"refused"), 404)}
    foreign = {"Authorization": f"Bearer {store.foreign}"}
    said.add(refused(proxied.infer("echo", b"refused", headers=foreign), 404))
    for secret in (store.foreign, store.viewer):
        headers = {"Authorization": f"Bearer {secret}"}
        said.add(refused(proxied.infer("absent", b"refused", headers=headers), 404))
    for path in (
        "%00",
        "..",
        "%2e",
        "%ff",
        "x" * 300,
        "echo/versions/../infer",
        "echo/x",
    ):
        url = f"/v2/models/{path}/infer"
        answer = requests.Request("POST", proxied.url).prepare()
        answer.url = proxied.url + url
        answer.headers["Authorization"] = f"Bearer {store.secret}"
        with requests.Session() as session:
            said.add(refused(session.send(answer), 404))
    assert len(said) == 1


def test_a_revoked_token_counts_soon_whoever_revokes_it(proxied, store):
    from istore.models import Token

    secret = store.token()
    headers = {"Authorization": f"Bearer {secret}"}
    assert proxied.infer("echo", headers=headers).ok
    revoking = Token.objects.filter(prefix=secret[:14])
    store.thread.submit(revoking.update, revoked_at=datetime.now(UTC)).result()
    status = lambda: proxied.infer("echo", headers=headers).status_code  # noqa: E731
    wait_until(lambda: status() == 401, 1.5)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v2/models/echo/infer"), ("POST", "/v2"), ("DELETE", "/v2/models/echo")],
)
def test_another_method_is_405(proxied, method, path):
    answer = requests.request(method, proxied.url + path, timeout=5)
    refused(answer, 405)
    assert answer.headers["Allow"]


@pytest.mark.parametrize("path", ["/", "/v2/x", "/v3/models/echo", "/v2/models"])
def test_another_path_is_404(proxied, path):
    refused(requests.get(proxied.url + path, timeout=5), 404)


@pytest.mark.parametrize(
    ("behaviour", "status"),
    [
        ("silent", 504),
        ("redirecting", 502),
        ("large", 502),
        ("broken", 502),
        ("nonsense", 502),
        ("doubtful", 502),
    ],
)
def test_an_upstream_that_fails_is_told_apart(
    proxied, store, upstream, behaviour, status
):
    store.model(upstream.url, behaviour)
    began = time.monotonic()
    message = refused(proxied.infer(behaviour), status)
    assert "127.0.0.1" not in message
    assert time.monotonic() - began < 4


def test_an_upstream_that_is_not_there_is_502(proxied, store):
    store.model(f"http://127.0.0.1:{free_port()}", "gone")
    refused(proxied.infer("gone"), 502)
    store.model("http://name.invalid", "unnamed")
    refused(proxied.infer("unnamed"), 502)
    store.model("", "without")
    refused(proxied.infer("without"), 502)


@pytest.mark.parametrize(
    "url",
    [
        "http://10.1.2.3",
        "http://[::1]:80",
        "http://169.254.169.254/latest",
        "http://[::ffff:127.0.0.1]",
        "http://2130706434",
        "http://127.2:80",
        "http://localhost",
        "http://user:secret@example.org",
        "ftp://example.org",
    ],
)
def test_a_private_upstream_is_refused(proxied, store, url):
    store.model(url, "private")
    wait_until(lambda: proxied.infer("private").status_code == 502, 2)
    message = refused(proxied.infer("private"), 502)
    assert "secret" not in message


def test_too_much_in_flight_is_refused_and_nothing_forwarded(
    start_proxy, store, upstream
):
    busy = start_proxy(ISTORE_PROXY_MAX_INFLIGHT_BYTES="1000")
    body = request_body(id="refused", parameters={"fill": "x" * 2000})
    answer = busy.infer("echo", body)
    refused(answer, 503)
    assert answer.headers["Retry-After"] == "1"
    assert busy.infer("echo").headers["Inference-Store"] == "recorded"


def test_an_answer_that_grows_too_large_ends_early(proxied, store, upstream):
    """It has begun to leave when that shows: the client must not take it for whole."""
    store.model(upstream.url, "unending")
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        proxied.infer("unending")
    wait_until(lambda: "An answer ended early" in proxied.log, 10)
    assert "Application callable" not in proxied.log


def test_an_answer_too_large_to_begin_with_is_502(start_proxy, store, upstream):
    small = start_proxy(ISTORE_PROXY_MAX_RESPONSE_BYTES="100K")
    store.model(upstream.url, "unending")
    refused(small.infer("unending"), 502)
