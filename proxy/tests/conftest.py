"""A real proxy process, a model server behind it, and a store of its own for each."""

from __future__ import annotations

import hashlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import aiohttp  # noqa: F401  imported before any thread of the model server needs it
import orjson
import pytest
import redis
import requests
from django.conf import settings
from django.db import connection
from django.test.testcases import LiveServerThread, _StaticFilesHandler
from redis.exceptions import ConnectionError as RedisAway

from inferences.models import RegisteredModel, TaskType
from ingest.events import InferenceEvent
from ingest.stream import STREAM
from istore.blobs.keys import MemberKey
from istore.blobs.packs import ENTRY, FIELDS, FOOTER_BYTES, Member
from istore.freshness import changes_heard
from istore.models import Project, Role, Token
from proxy import publishing
from proxy.capture import worker
from proxy.capture.worker import Capture
from proxy.spool.spool_files import Ownership, owners_in
from proxy.tests.upstream import Upstream
from services.models import InferenceSession, Status
from services.sessions import create_service, start_session
from tests.empty_tables import empty_tables
from tests.redis_databases import database_url

OWNER = "0" * 32


@pytest.fixture(scope="session")
def upstream():
    server = Upstream()
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")  # tests elsewhere may empty the tables between modules
def store(django_db_setup, django_db_blocker, worker_id):
    """Rows that a process of its own can see: committed, and gone when all is done."""
    with django_db_blocker.unblock(), ThreadPoolExecutor(1) as thread:
        store = thread.submit(Store.create, worker_id, thread).result()
        yield store
        thread.submit(store.remove).result()


@dataclass
class Store:
    projects: list[Project]
    secret: str
    foreign: str
    viewer: str
    database_url: str
    redis_url: str
    thread: ThreadPoolExecutor  # whose connection is in no test's transaction

    @classmethod
    def create(cls, worker: str, thread: ThreadPoolExecutor) -> Store:
        own, other = (
            Project.objects.create(project_id=f"proxied-{n}") for n in ("own", "other")
        )
        given = settings.DATABASES["default"]
        host = quote(given["HOST"], safe="")
        name = connection.settings_dict["NAME"]
        return cls(
            projects=[own, other],
            secret=new_token(own, Role.EDITOR),
            foreign=new_token(other, Role.EDITOR),
            viewer=new_token(own, Role.VIEWER),
            database_url=f"postgresql://{given['USER']}:{given['PASSWORD']}@{host}/{name}",
            redis_url=database_url(8, worker),
            thread=thread,
        )

    def remove(self) -> None:
        """Leave nothing to the tests of other modules, whatever was written beside the rows above."""
        empty_tables()
        connection.close()

    def do(self, act, *given, **named):
        """Committed, and heard by the proxies that run."""

        def act_and_wait():
            with changes_heard():
                return act(*given, **named)

        return self.thread.submit(act_and_wait).result()

    def token(self, **fields) -> str:
        return self.do(new_token, self.projects[0], Role.EDITOR, **fields)

    def model(self, url: str, model_id: str, **changes) -> RegisteredModel:
        return self.do(self._model, url, model_id, **changes)

    def _model(self, url: str, model_id: str, **changes) -> RegisteredModel:
        values = {
            "project": self.projects[0],
            "task_type": TaskType.OBJECT_DETECTION,
            "upstream_url": url,
            "enable_inference_storage": True,
        }
        model, _ = RegisteredModel.objects.update_or_create(
            model_id=model_id, defaults=values | changes
        )
        return model

    def session(self, runner: str, configuration: dict, **fields) -> tuple:
        """A session that is ready, and the secret that reaches it."""
        return self.do(self._session, runner, configuration, **fields)

    def _session(
        self, runner: str, configuration: dict, status=Status.READY, **fields
    ) -> tuple[InferenceSession, str]:
        given = {"account": "a", "name": "s", "endpoint": "generate"} | fields
        service = create_service(
            "test",
            self.projects[0],
            runner=runner,
            configuration=configuration,
            **given,
        )
        session, secret = start_session("test", service)
        InferenceSession.objects.filter(pk=session.pk).update(status=status)
        return InferenceSession.objects.select_related("service").get(
            pk=session.pk
        ), secret


def new_token(project: Project, role: Role, **fields) -> str:
    secret = "ist_" + secrets.token_urlsafe(32)
    digest = hashlib.sha256(secret.encode()).digest()
    Token.objects.create(
        name="test",
        project=project,
        role=role,
        prefix=secret[:14],
        digest=digest,
        **fields,
    )
    return secret


@dataclass
class Proxied:
    """The proxy as a process, with what it stored."""

    store: Store
    home: Path
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen | None = None
    port: int = 0
    published_before: str = "0-0"  # the last event of others, as the stream is kept

    def __post_init__(self) -> None:
        with redis.Redis.from_url(self.store.redis_url) as client:
            for entry_id, _ in client.xrevrange(STREAM, count=1):
                self.published_before = entry_id.decode()

    def start(self, **changes: str) -> Proxied:
        self.port = free_port()
        environment = {
            **os.environ,
            "ISTORE_HOME": str(self.home),
            "ISTORE_TESTING": "true",
            "ISTORE_DATABASE_URL": self.store.database_url,
            "ISTORE_REDIS_URL": self.store.redis_url,
            "ISTORE_UPSTREAM_ALLOW": "127.0.0.1",
            "ISTORE_SPOOL_DEADLINE_MS": "2000",  # a busy disk is not what is tested
            **self.environment,
            **changes,
        }
        with open(self.home / "proxy.log", "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "proxy.serve", "--port", str(self.port)],
                cwd=settings.BASE_DIR,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(self.is_live, 30)
        return self

    def is_live(self) -> bool:
        assert self.process.poll() is None, self.log[-2000:]
        try:
            return requests.get(f"{self.url}/v2/health/live", timeout=2).ok
        except (requests.ConnectionError, requests.Timeout):
            return False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def blobs(self) -> Path:
        return self.home / "blobs"

    @property
    def log(self) -> str:
        return (self.home / "proxy.log").read_text()

    def kill(self) -> None:
        """The whole of it at once, as a loss of power does."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)
            wait_until(self.is_gone, 15)

    def is_gone(self) -> bool:
        """The capture process too, which may publish something until then."""
        spool = self.home / "spool"
        for owner in owners_in(spool):
            lock = Ownership.take(spool, owner)
            if lock is None:
                return False
            lock.release()
        return True

    def infer(self, model_id: str, body: object = None, **options) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.store.secret}"}
        headers |= options.pop("headers", {})
        headers = {key: value for key, value in headers.items() if value is not None}
        data = body if isinstance(body, bytes) else orjson.dumps(body or request_body())
        path = options.pop("path", f"/v2/models/{quote(model_id, safe='')}/infer")
        options.setdefault("timeout", 30)
        return requests.post(self.url + path, data, headers=headers, **options)

    def call(
        self, session: InferenceSession, secret: str, body: object, **options
    ) -> requests.Response:
        """Of a session, at its endpoint unless ``endpoint`` says otherwise."""
        endpoint = options.pop("endpoint", session.service.endpoint)
        path = f"/api/v1/inferencesessions/{session.id.hex}/infer/{endpoint}"
        headers = {"Authorization": f"Bearer {secret}", **options.pop("headers", {})}
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        options.setdefault("timeout", 30)
        return requests.post(self.url + path, data, headers=headers, **options)

    # -- what came of it

    def markers(self) -> list[dict]:
        """The markers in all packs, each with its whole event."""
        found = []
        for path in self.blobs.rglob("*.records"):
            pack = str(path.relative_to(self.blobs))
            for member in index_of(path):
                keys = {
                    "inference_storage_key": member.content_key(pack),
                    "metadata_storage_key": member.marker_key(pack),
                }
                marker = orjson.loads(self.blob(keys["metadata_storage_key"]))
                marker["event"] |= keys
                found.append(marker)
        return sorted(found, key=lambda each: each["event"]["inference_id"])

    def marker(self, inference_id: str) -> dict:
        def found() -> list[dict]:
            every = self.markers()
            return [e for e in every if e["event"]["inference_id"] == inference_id]

        wait_until(found, 20)
        (marker,) = found()
        return marker

    def answer(self, marker: dict) -> bytes:
        """The answer that a marker describes."""
        return self.blob(marker["event"]["inference_storage_key"])

    def blob(self, key: str) -> bytes:
        member = MemberKey.parse(key)
        if member is None:
            return (self.blobs / key).read_bytes()
        content = (self.blobs / member.pack).read_bytes()
        return content[member.offset : member.offset + member.length]

    def events(self) -> list[InferenceEvent]:
        with redis.Redis.from_url(self.store.redis_url) as client:
            entries = client.xrange(STREAM, min=f"({self.published_before}")
        return [InferenceEvent.from_json(values[b"event"]) for _, values in entries]

    def is_drained(self) -> bool:
        """Nothing is left in the spool that has not been captured."""
        return not any((self.home / "spool").glob("*.closed")) and not any(
            (self.home / "spool").glob("*.open")
        )


def index_of(path: Path) -> list[Member]:
    """The members of a pack in a file."""
    content = path.read_bytes()
    offset, count, _ = FIELDS.unpack_from(content, len(content) - FOOTER_BYTES)
    index = content[offset : offset + count * ENTRY.size]
    return [Member(*each) for each in ENTRY.iter_unpack(index)]


@pytest.fixture
def start_proxy(store, tmp_path):
    """``start_proxy(ISTORE_…="…")``: a proxy with settings of its own."""
    started: list[Proxied] = []
    with redis.Redis.from_url(store.redis_url) as client:
        client.flushdb()

    def start(**environment: str) -> Proxied:
        proxied = Proxied(store, tmp_path, environment)
        started.append(proxied)
        return proxied.start()

    yield start
    for each in started:
        each.stop()


@pytest.fixture(scope="module")
def proxied(store, tmp_path_factory):
    """One proxy for the tests of a module that need nothing special."""
    with redis.Redis.from_url(store.redis_url) as client:
        client.flushdb()
    limits = {
        "ISTORE_PROXY_MAX_REQUEST_BYTES": "8M",
        "ISTORE_PROXY_MAX_RESPONSE_BYTES": "2M",
        "ISTORE_CAPTURE_MAX_BYTES": "1M",
        "ISTORE_UPSTREAM_TOTAL_SECONDS": "2",
        "ISTORE_UPSTREAM_CONNECT_SECONDS": "1",
        "ISTORE_CLIENT_BODY_SECONDS": "1",
    }
    proxied = Proxied(store, tmp_path_factory.mktemp("home"), limits).start()
    yield proxied
    proxied.stop()


# -- the capture process, within this one


class Stream:
    """Redis, as far as the publisher knows it."""

    def __init__(self) -> None:
        self.events = []
        self.is_away = False

    def publish(self, events) -> None:
        if self.is_away:
            raise RedisAway("away")
        self.events += events

    def note_progress(self, captured_bytes) -> None:
        if self.is_away:
            raise RedisAway("away")


@pytest.fixture
def stream(monkeypatch):
    stream = Stream()
    monkeypatch.setattr(publishing, "EventStream", lambda: stream)
    monkeypatch.setattr(publishing, "WAITS", (0.01, 0.01))
    monkeypatch.setattr(worker, "RETRY_SECONDS", (0.01,))
    return stream


@pytest.fixture
def capture(tmp_path, stream):
    (tmp_path / "spool").mkdir()
    capture = Capture(tmp_path / "spool", OWNER, threading.Event())
    yield capture
    capture._stop.set()
    capture.run()


def request_body(**members) -> dict:
    text = {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["a ship"]}
    return {"inputs": [text], **members}


def wait_until(holds, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def live_api(store):
    """The API as a server whose rows the proxy sees: in no test's transaction."""
    thread = LiveServerThread("127.0.0.1", _StaticFilesHandler)
    thread.daemon = True
    thread.start()
    assert thread.is_ready.wait(10) and not thread.error
    yield f"http://127.0.0.1:{thread.port}"
    thread.terminate()
