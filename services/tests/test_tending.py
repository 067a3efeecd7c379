"""Servers at a URL, looked at until they answer; ends that come by themselves."""

import socket
import threading
import time
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from django.db import connection, transaction

from istore.db.clock import now
from istore.failpoints import Failure, arm
from services.models import InferenceSession, SessionToken, Status
from services.readiness import status_of
from services.session_tokens import find_session_token, forget_expired_tokens
from services.sessions import issue_token, start_session
from services.tasks import tend_sessions
from services.tests.conftest import closed_port

pytestmark = pytest.mark.django_db


class Server(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        self.send_response(self.server.status)
        self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.status, server.asked = 200, []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def url_of(server) -> str:
    return f"http://127.0.0.1:{server.server_port}"


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ({"protocol": "v2", "model": "a b"}, "/v2/models/a%20b/ready"),
        ({"protocol": "openai"}, "/v1/models"),
        ({"protocol": "json"}, "/"),
        ({"protocol": "json", "ready": "/health?deep=1"}, "/health?deep=1"),
    ],
)
def test_each_protocol_is_asked_in_its_way(
    server, make_service, make_session, given, asked
):
    session, _ = make_session(make_service("url", url=url_of(server), **given))
    tend_sessions()
    session.refresh_from_db()
    assert session.status == Status.READY
    assert server.asked == [asked]


def test_a_base_that_names_the_version_is_asked_below_it(
    server, make_service, make_session
):
    url = f"{url_of(server)}/v1"
    make_session(make_service("url", url=url, protocol="openai"))
    tend_sessions()
    assert server.asked == ["/v1/models"]


@pytest.mark.parametrize(
    ("given", "status", "expected"),
    [
        ({"protocol": "v2", "model": "m"}, 503, Status.ADMITTED),
        ({"protocol": "v2", "model": "m"}, 404, Status.ADMITTED),
        ({"ready": "/health"}, 404, Status.ADMITTED),
        ({"ready": "/health"}, 302, Status.ADMITTED),
        ({"protocol": "openai"}, 401, Status.READY),
        ({"protocol": "openai"}, 502, Status.ADMITTED),
        ({}, 404, Status.READY),
    ],
)
def test_what_counts_as_an_answer(
    server, make_service, make_session, given, status, expected
):
    server.status = status
    session, _ = make_session(make_service("url", url=url_of(server), **given))
    tend_sessions()
    session.refresh_from_db()
    assert session.status == expected


def test_a_server_that_never_answers_is_given_up(make_service, make_session, settings):
    settings.ISTORE_SESSION_START_SECONDS = 10
    service = make_service("url", url=f"http://127.0.0.1:{closed_port()}")
    session, _ = make_session(service)
    tend_sessions()
    session.refresh_from_db()
    assert session.status == Status.ADMITTED
    InferenceSession.objects.update(created_at=now() - timedelta(seconds=11))
    tend_sessions()
    session.refresh_from_db()
    assert session.status == Status.ERROR
    assert session.reason == "It did not answer within 10 seconds."


def test_an_address_that_is_not_allowed_any_more_is_an_error(
    server, make_service, make_session, settings
):
    session, _ = make_session(make_service("url", url=url_of(server)))
    settings.ISTORE_UPSTREAM_ALLOW = []
    tend_sessions()
    session.refresh_from_db()
    assert session.status == Status.ERROR
    assert not server.asked


def test_a_name_is_judged_by_what_it_resolves_to(server, settings, monkeypatch):
    """It passes as a name, and is not asked at an address that is not allowed."""
    settings.ISTORE_UPSTREAM_ALLOW = []
    found = socket.getaddrinfo("127.0.0.1", server.server_port)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    url = f"http://models.example.org:{server.server_port}/"
    assert status_of(url) is None
    assert not server.asked
    assert status_of(url, ours=True) == 200


@contextmanager
def saying(*pieces: bytes, every: float = 0.0):
    """A server that sends these, whatever it is asked."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            found, _ = listening.accept()
            with found:
                found.recv(1000)
                for piece in pieces:
                    try:
                        found.sendall(piece)
                    except OSError:
                        return
                    time.sleep(every)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        thread.join(5)


@pytest.mark.parametrize(
    "said",
    [
        b"220 smtp.example ESMTP\r\n",
        b"HTTP/1.1 999 odd\r\n",
        b"HTTP/1.1 20\r\n",
        b"x" * 5000,
        b"",
    ],
)
def test_what_is_no_http_is_no_answer(said):
    with saying(said) as url:
        assert status_of(url) is None


def test_a_server_that_drips_is_not_waited_for():
    with saying(*[b"H"] * 100, every=0.1) as url:
        began = time.monotonic()
        assert status_of(url, seconds=0.5) is None
        assert time.monotonic() - began < 1.5


def test_tokens_that_open_nothing_are_forgotten(make_session):
    _, secret = make_session()
    assert forget_expired_tokens() == 0
    assert find_session_token(secret)
    SessionToken.objects.update(expires_at=now() - timedelta(seconds=1))
    assert find_session_token(secret) is None
    assert forget_expired_tokens() == 1


@pytest.mark.django_db(transaction=True)
def test_a_further_token_is_committed_before_it_is_shown(make_session):
    session, _ = make_session()
    arm("sessions.token_committed=raise")
    try:
        with pytest.raises(Failure):
            issue_token("test", session)
        assert session.tokens.count() == 2  # one of them nobody knows: it runs out
    finally:
        arm("")
    assert find_session_token(issue_token("test", session)).session == session


@pytest.mark.django_db(transaction=True)
def test_a_session_is_committed_before_its_secret_is_shown(make_service):
    service = make_service()
    arm("sessions.committed=raise")
    try:
        with pytest.raises(Failure):
            start_session("test", service)
        assert not connection.in_atomic_block
        with transaction.atomic():
            assert InferenceSession.objects.filter(service=service).count() == 1
            assert SessionToken.objects.count() == 1
    finally:
        arm("")
