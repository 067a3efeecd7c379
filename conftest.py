"""Builders for every test: give the fields the test is about, and no others."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from importlib import import_module
from itertools import count

import pytest
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


@pytest.fixture(autouse=True)
def blob_directory(settings, tmp_path):
    """Each test has a blob store of its own."""
    storages = {**settings.STORAGES}
    location = str(tmp_path / "blobs")
    storages["default"] = {**storages["default"], "OPTIONS": {"location": location}}
    storages["staticfiles"] = {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
    }
    settings.STORAGES = storages
    return tmp_path / "blobs"


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
