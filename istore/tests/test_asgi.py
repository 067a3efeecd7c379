"""The web server over raw sockets: bodies that break off, and clients that are slow."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import pytest
from django.conf import settings
from inference_store import Client

from inferences.models import InferenceAction, RegisteredModel, TaskType
from inferences.store.recording import NewInference, record
from istore import blobs
from istore.accounts.tokens import create_token
from istore.asgi import THREADS, Refused, RequestBody, WaitingBytes, body_limit
from istore.models import Project, Role
from istore.tests.running_store import free_ports, wait_until

GRANIAN = Path(sys.executable).with_name("granian")
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def store(tmp_path, transactional_db, blob_variables):
    project = Project.objects.create(project_id="harbour")
    RegisteredModel.objects.create(
        model_id="m", project=project, task_type=TaskType.OBJECT_DETECTION
    )
    _, secret = create_token("t", project, Role.EDITOR)
    given = settings.DATABASES["default"]
    host = given["HOST"].replace("/", "%2F")
    from django.db import connection

    name = connection.settings_dict["NAME"]
    (port,) = free_ports(1)
    env = {
        **os.environ,
        **blob_variables,
        "ISTORE_TESTING": "true",
        "ISTORE_DATABASE_URL": f"postgresql://{given['USER']}:{given['PASSWORD']}@{host}/{name}",
        "ISTORE_REDIS_URL": settings.ISTORE_REDIS_URL,
        "ISTORE_CLIENT_BODY_SECONDS": "1",
    }
    argv = [GRANIAN, "--interface=asginl", f"--port={port}", "istore.asgi:application"]
    with (
        open(tmp_path / "web.log", "wb") as log,
        subprocess.Popen(
            argv, cwd=settings.BASE_DIR, env=env, stdout=log, stderr=log
        ) as process,
    ):
        try:
            wait_until(lambda: is_live(port), 60)
            yield Server(port, secret)
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(60)
            process.kill()  # nothing, where it has ended


def is_live(port: int) -> bool:
    try:
        return Server(port, "").send(b"GET /health/live HTTP/1.1", {})[0] == 200
    except OSError:
        return False


class Server:
    def __init__(self, port: int, secret: str) -> None:
        self.port = port
        self.secret = secret

    @contextmanager
    def connected(self):
        with socket.create_connection(("127.0.0.1", self.port)) as client:
            client.settimeout(20)
            yield client

    def send(self, first: bytes, headers: dict[str, str], *pieces: bytes, end=False):
        """The status, and the body as JSON, of what is answered to these bytes."""
        headers = {"Host": "localhost", "Connection": "close", **headers}
        if self.secret:
            headers["Authorization"] = f"Bearer {self.secret}"
        head = b"".join(f"{n}: {v}\r\n".encode() for n, v in headers.items())
        with self.connected() as client:
            client.sendall(first + b"\r\n" + head + b"\r\n")
            for piece in pieces:
                time.sleep(0.05)
                client.sendall(piece)
            if end:
                client.shutdown(socket.SHUT_WR)
            found = b"".join(iter(lambda: client.recv(65536), b""))
        head, _, body = found.partition(b"\r\n\r\n")
        is_json = b"json" in head.lower()
        return int(head.split()[1]), json.loads(body) if is_json and body else body


CHUNKED = {"Transfer-Encoding": "chunked", "Content-Type": "application/json"}
CUT = {
    "fewer bytes than were said": ({"Content-Length": "10"}, b"{}"),
    "none of the bytes that were said": ({"Content-Length": "10"}, b""),
    "chunks without an end": (CHUNKED, b"2\r\n{}\r\n"),
    "a chunk cut short": (CHUNKED, b"a\r\n{}"),
    "a chunk without a length": (CHUNKED, b"zz\r\n{}\r\n0\r\n\r\n"),
    "a bad chunk after a good one": (CHUNKED, b"2\r\n{}\r\nzz\r\n{}\r\n0\r\n\r\n"),
    "a chunk longer than it says": (CHUNKED, b"1\r\n{}\r\n0\r\n\r\n"),
}
ROUTES = [
    "export-tasks",
    "inferences/delete",
    "inferences/count",
    "ground-truth?form=csv",
    "inferences/batch",
    "no-such-route",
]


def test_a_body_that_breaks_off_is_refused_before_anything_happens(store):
    for route in ROUTES:
        for name, (headers, content) in CUT.items():
            kind = {"Content-Type": "application/json"}
            first = f"POST /api/v1/models/m/{route} HTTP/1.1".encode()
            status, said = store.send(first, {**kind, **headers}, content, end=True)
            assert (status, said["code"]) == (400, "incomplete-body"), (route, name)
    assert (
        store.send(b"GET /api/v1/models/m/export-tasks HTTP/1.1", {})[1]["results"]
        == []
    )
    # Pages, too.
    headers = {"Content-Length": "10", "Content-Type": "text/plain"}
    assert store.send(b"POST /login HTTP/1.1", headers, b"x", end=True)[0] == 400


def test_a_whole_body_in_chunks_is_read(store):
    first = b"POST /api/v1/models/m/inferences/count HTTP/1.1"
    pieces = (b"2\r\n{}\r\n", b"0\r\n\r\n")
    assert store.send(first, CHUNKED, *pieces) == (200, {"count": 0})
    wrong = b'b\r\n{"nope": 1}\r\n0\r\n\r\n'
    status, said = store.send(first, CHUNKED, wrong)
    assert (status, said["code"]) == (400, "unknown-field")


def test_slow_clients_hold_no_thread(store):
    """More of them than there are threads, and everyone else is answered meanwhile."""
    slow = []
    for _ in range(40):
        client = socket.create_connection(("127.0.0.1", store.port))
        client.sendall(
            b"POST /api/v1/models HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Length: 100\r\nContent-Type: application/json\r\n\r\n{"
        )
        slow.append(client)
    assert store.send(b"GET /health/live HTTP/1.1", {})[0] == 200
    slow[0].settimeout(20)
    assert slow[0].recv(100).startswith(b"HTTP/1.1 408")
    for client in slow:
        client.close()


def test_a_large_body_is_taken_where_a_file_is_expected_alone(store):
    first = b"POST /api/v1/models/m/%b HTTP/1.1"
    large = {"Content-Length": str(9 * 2**20), "Content-Type": "text/csv"}
    status, said = store.send(first % b"inferences/count", large, b"x")
    assert (status, said["code"]) == (413, "body-too-large")
    rows = b"inference_id,label\n" + b"a,%b\n" % (b"x" * 1000) * 9300
    large["Content-Length"] = str(len(rows))
    status, said = store.send(first % b"ground-truth", large, rows)
    assert status in (200, 202), said


def test_nothing_of_an_address_is_lost_or_a_500(store):
    for path in (b"%E2%82%AC", b"%FF", b"%00", b"a%2Fb?x=%FF", b"?%ED%A0%80"):
        status, _ = store.send(b"GET /api/%b HTTP/1.1" % path, {})
        assert 200 <= status < 500, path
    cookie = {"Cookie": 'sessionid="abcdefgh\\000x"; ' + "a=" + "b" * 5000}
    assert store.send(b"GET / HTTP/1.1", cookie)[0] == 302


@pytest.mark.parametrize(
    "model_id",
    ["org/name", "a/inferences/b", "a/../b", "/a", "a/", "a/metadata/counts", "a%2Fb"],
)
def test_every_id_is_addressed_with_its_slashes_escaped(store, model_id):
    project = Project.objects.get(project_id="harbour")
    task_type = TaskType.OBJECT_DETECTION
    model = RegisteredModel.objects.create(
        model_id=model_id, project=project, task_type=task_type
    )
    new = NewInference(
        inference_id="x/metadata",
        inference_action=InferenceAction.DETECT,
        data_hash=bytes(32),
        created_at=datetime(2025, 6, 1, tzinfo=UTC),
    )
    record(model, [new])
    address = f"/api/v1/models/{quote(model_id, safe='')}"
    status, found = store.send(f"GET {address} HTTP/1.1".encode(), {})
    assert (status, found["model_id"]) == (200, model_id)
    in_project = address.replace("/v1/", "/v1/projects/harbour/")
    status, found = store.send(f"GET {in_project} HTTP/1.1".encode(), {})
    assert (status, found["model_id"]) == (200, model_id)
    inference = f"{address}/inferences/x%2fmetadata"
    status, found = store.send(f"GET {inference} HTTP/1.1".encode(), {})
    assert (status, found["inference_id"]) == (200, "x/metadata")
    with Client(f"http://127.0.0.1:{store.port}", store.secret) as client:
        fetched = client.inference.get_inference(model_id, "x/metadata")
        assert fetched is not None and fetched.inference_id == "x/metadata"
    status, found = store.send(f"GET {inference}/metadata HTTP/1.1".encode(), {})
    assert status == 200 and "inference_id" not in found


def test_a_view_may_name_the_setting_that_bounds_its_bodies(settings):
    settings.ISTORE_UPLOAD_MAX_BYTES, settings.ISTORE_OTLP_MAX_BYTES = 7, 5
    assert body_limit(b"/uploads") == 7
    assert body_limit(b"/v1/traces") == 5
    assert body_limit(b"/api/v1/models") == 0


def test_a_body_that_is_too_large_gives_back_the_bytes_it_held_and_no_more():
    waiting = WaitingBytes(2**30)
    body = RequestBody(waiting)
    piece = {"body": bytes(settings.ISTORE_API_MAX_BODY_BYTES + 1), "more_body": True}

    async def receive() -> dict[str, object]:
        return {"type": "http.request", **piece}

    with pytest.raises(Refused, match="too large"):
        asyncio.run(body.read(receive, lambda: 0))
    body.close()

    assert waiting.held == 0


def store_input(inference_id: str, size: int) -> bytes:
    """An inference of the model ``m`` with an input of so many bytes."""
    content = os.urandom(size)
    key = f"1/1/2025/06/01/00/{inference_id}/input"
    blobs.put(key, content)
    new = NewInference(
        inference_id=inference_id,
        inference_action=InferenceAction.DETECT,
        data_hash=hashlib.sha256(content).digest(),
        data_size=len(content),
        created_at=datetime.now(UTC),
        data_storage_key=key,
    )
    record(RegisteredModel.objects.get(model_id="m"), [new])
    return content


def test_streams_arrive_whole_through_the_server(store):
    content = store_input("a", 3_000_000)

    status, body = store.send(b"GET /api/v1/models/m/inferences/a/input HTTP/1.1", {})
    style, sheet = store.send(b"GET /static/css/base.css HTTP/1.1", {})

    assert (status, body == content) == (200, True)
    assert (style, b"{" in sheet) == (200, True)


def test_a_reader_that_stands_still_frees_its_thread(store):
    store_input("a", 30_000_000)
    head = (
        "GET /api/v1/models/m/inferences/a/input HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {store.secret}\r\n\r\n"
    ).encode()
    with ExitStack() as stack:
        for _ in range(2 * THREADS):
            stack.enter_context(store.connected()).sendall(head)
        time.sleep(1)

        # Their time is a second here; while all threads were held, nothing would answer.
        status, _ = store.send(b"GET /api/v1/models HTTP/1.1", {})

    assert status == 200
