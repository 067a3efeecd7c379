"""Builders for every test: give the fields the test is about, and no others."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from datetime import UTC, datetime
from importlib import import_module
from itertools import count
from urllib.request import urlopen

import pytest
from django.conf import settings as settings_of_django
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client
from rest_framework.test import APIClient

from inferences.models import Inference, InferenceAction, RegisteredModel, TaskType
from inferences.store.recording import NewInference, record
from inferences.tests.builders import typed
from istore.accounts.tokens import create_token
from istore.celery import app
from istore.models import Membership, Project, Role
from istore.uuids import uuid7
from tests import s3_server
from tests.stored_objects import StoredObjects

settings_of_django.PASSWORD_HASHERS = ["tests.quick_passwords.QuickPasswordHasher"]


@pytest.fixture(autouse=True)
def blob_store(settings, tmp_path):
    """Each test has a blob store of its own: a directory, or a prefix of a bucket."""
    storages = {**settings.STORAGES}
    if endpoint := os.environ.get("ISTORE_TEST_S3"):
        storages["default"] = s3_server.storage_at(endpoint, location=str(uuid7()))
        settings.ISTORE_PACK_LINGER_MS = 0  # as on disk: a window waits for nothing
    else:
        location = str(tmp_path / "blobs")
        storages["default"] = {**storages["default"], "OPTIONS": {"location": location}}
    storages["staticfiles"] = {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
    }
    settings.STORAGES = storages


@pytest.fixture(autouse=True)
def late_requests(request, blob_store):
    """The tables are emptied, and the settings restored, after the last request of a browser."""
    if not {"browser", "live_server"} <= {*request.fixturenames}:
        yield
        return
    request.getfixturevalue(
        "transactional_db"
    )  # what is set up first is torn down last
    yield
    # The browser has closed its connections; the server may still read what came over them.
    deadline = time.monotonic() + 20
    while is_answering() and time.monotonic() < deadline:
        time.sleep(0.01)


def is_answering() -> bool:
    return any("process_request_thread" in each.name for each in threading.enumerate())


@pytest.fixture
def blob_directory(blob_store, tmp_path):
    """The directory of the blob store, for tests about files in a directory."""
    if os.environ.get("ISTORE_TEST_S3"):
        pytest.skip("It is about a blob store on disk.")
    return tmp_path / "blobs"


@pytest.fixture
def stored_objects(blob_store, monkeypatch, tmp_path) -> StoredObjects:
    """What lies in the blob store, to be aged, listed, damaged or taken away, on disk and in a bucket."""
    return StoredObjects(monkeypatch, tmp_path)


@pytest.fixture
def blob_variables(blob_store, settings, tmp_path) -> dict[str, str]:
    """The settings with which a process of its own has the blobs of this test."""
    given = {"ISTORE_HOME": str(tmp_path)}
    if endpoint := os.environ.get("ISTORE_TEST_S3"):
        prefix = settings.STORAGES["default"]["OPTIONS"]["location"]
        given |= s3_server.variables(endpoint, prefix)
    return given


@pytest.fixture(scope="session")
def s3_endpoint():
    """The URL of a real S3 endpoint with the bucket ``s3_server.BUCKET``."""
    if endpoint := os.environ.get("ISTORE_TEST_S3"):
        yield endpoint
        return
    with s3_server.running() as endpoint:
        yield endpoint


@pytest.fixture
def s3_prefix(s3_endpoint, blob_store, settings):
    """The default storage is an empty prefix of a bucket at a real endpoint; returns the prefix."""
    prefix = str(uuid7())
    storage = s3_server.storage_at(s3_endpoint, location=prefix)
    settings.STORAGES = {**settings.STORAGES, "default": storage}
    return prefix


@pytest.fixture
def open_link(client):
    """``open_link(url)``: headers and bytes behind a signed link, of the store or of a bucket."""

    def get(url: str):
        if url.startswith(settings_of_django.ISTORE_URL):
            answer = client.get(url.removeprefix(settings_of_django.ISTORE_URL))
            assert answer.status_code == 200
            return answer.headers, answer.getvalue()
        with urlopen(url, timeout=30) as answer:
            return answer.headers, answer.read()

    return get


class Queue(list):
    """The messages that were sent to workers: task names with their arguments."""

    is_eager = False  # whether a worker carries each of them out at once

    def send(self, name: str, args=(), kwargs=None, **options) -> None:
        self.append((name, [*args]))
        if self.is_eager:
            import_module(name.rpartition(".")[0])  # it registers the task
            app.tasks[name].run(*args)


@pytest.fixture
def queue(monkeypatch) -> Queue:
    """A queue in place of the broker, for this process."""
    queue = Queue()
    monkeypatch.setattr(app, "send_task", queue.send)
    return queue


@pytest.fixture
def project(db) -> Project:
    return Project.objects.create(project_id="harbour")


@pytest.fixture
def model(project) -> RegisteredModel:
    return RegisteredModel.objects.create(
        model_id="yolo-harbour",
        project=project,
        task_type=TaskType.OBJECT_DETECTION,
        enable_inference_storage=True,
    )


@pytest.fixture
def make_inference(model):
    """``make_inference({"frame": 3}, detections=[("ship", 0.9)], inference_id="a")``."""
    numbers = count(1)

    def make(metadata: dict[str, object] | None = None, **fields) -> Inference:
        to_model = fields.pop("to", model)
        defaults = {
            "inference_id": f"inference-{next(numbers)}",
            "inference_action": InferenceAction.DETECT,
            "data_hash": hashlib.sha256(b"picture").digest(),
            "created_at": datetime(2025, 6, 1, tzinfo=UTC),
            "metadata": [typed(key, value) for key, value in (metadata or {}).items()],
        }
        new = NewInference(**defaults | fields)
        record(to_model, [new])
        return to_model.inferences.get(inference_id=new.inference_id)

    return make


@pytest.fixture
def api_as(project):
    """A client of the API with a token of the given role in the project."""

    def client(role: Role = Role.EDITOR, of: Project | None = None) -> APIClient:
        _, secret = create_token("test", of or project, role)
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
        return client

    return client


@pytest.fixture
def api(api_as) -> APIClient:
    return api_as()


@pytest.fixture
def person(project):
    """``person(Role.VIEWER)`` is a client of somebody who is logged in."""

    def make(role: Role | None = Role.VIEWER, of: Project | None = None) -> Client:
        number = User.objects.count()
        user = User.objects.create_user(f"person-{number}", password="anchor-42")
        if role:
            Membership.objects.create(user=user, project=of or project, role=role)
        client = Client()
        client.force_login(user)
        client.user = user
        return client

    return make


@pytest.fixture
def operator(db) -> Client:
    """A superuser, logged in."""
    client = Client()
    client.force_login(User.objects.create_superuser("operator"))
    return client


@pytest.fixture
def local_cache(settings):
    """A cache of this test alone."""
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    }
    cache.clear()
