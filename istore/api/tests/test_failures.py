"""Faults behind the store: what a caller is told when database, disk or objects fail."""

from __future__ import annotations

import errno

import psycopg
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from django.contrib.auth.models import User
from django.core.files.storage import storages
from django.db import connection, connections, utils
from django.test import Client

from istore import blobs
from istore.api.failures import as_store_error
from istore.models import Membership, Role, Token

MODELS = "/api/v1/models"
MODEL = f"{MODELS}/yolo-harbour"
NEW = {"model_id": "new", "project_id": "harbour", "task_type": "Object Detection"}


@pytest.fixture
def person(project) -> Client:
    user = User.objects.create_user("maria", password="anchor-42")
    Membership.objects.create(user=user, project=project, role=Role.ADMINISTRATOR)
    client = Client(raise_request_exception=False)
    client.force_login(user)
    return client


@pytest.fixture
def read_only():
    """From here on the database takes no writes, as a standby or a full disk does."""

    def begin() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("SET transaction_read_only = on")

    return begin


@pytest.mark.django_db
def test_a_database_that_takes_no_writes_still_answers_who_may_read(
    api, model, make_inference, read_only
):
    make_inference(inference_id="a")
    Token.objects.update(last_used_at=None)
    read_only()
    assert api.get(MODEL).status_code == 200
    assert api.get(f"{MODEL}/inferences/a").status_code == 200
    assert api.post(f"{MODEL}/inferences/count", {}, format="json").status_code == 200


WRITES = [
    ("post", MODELS, NEW),
    ("patch", f"{MODEL}/inference-server-settings", {"enable_inference_storage": True}),
    ("delete", f"{MODEL}/inferences/a", None),
    ("put", f"{MODEL}/inferences/a/ground-truth", {"boxes": []}),
    ("put", f"{MODEL}/inferences/a/protection", {"reason": "x"}),
    ("post", f"{MODEL}/inferences/delete", {"filters": {}}),
    ("post", f"{MODEL}/export-tasks", {"filters": {}}),
    ("post", f"{MODEL}/uploads/data", None),
]


@pytest.mark.django_db
@pytest.mark.parametrize(("method", "path", "body"), WRITES)
def test_every_write_is_a_503_then(
    api, model, make_inference, read_only, method, path, body
):
    make_inference(inference_id="a")
    read_only()
    answer = getattr(api, method)(path, body, format="json")
    assert answer.status_code == 503, answer.content
    assert answer.json()["code"] == "dependency-unavailable"
    assert int(answer["Retry-After"]) > 0


@pytest.mark.django_db
def test_pages_say_it_as_a_page(person, model, read_only):
    read_only()
    assert person.get("/").status_code == 200
    answer = person.post("/logout")
    assert (answer.status_code, answer["Retry-After"]) == (503, "2")
    assert b"<h1>" in answer.content


DISK = [
    (errno.ENOSPC, 507, "storage-full"),
    (errno.EDQUOT, 507, "storage-full"),
    (errno.EROFS, 503, "dependency-unavailable"),
    (errno.EIO, 503, "dependency-unavailable"),
    (errno.EACCES, 503, "dependency-unavailable"),
    (errno.EMFILE, 503, "dependency-unavailable"),
]


@pytest.mark.django_db
@pytest.mark.usefixtures("blob_directory")
@pytest.mark.parametrize(("number", "status", "code"), DISK)
def test_a_disk_that_fails_is_told_by_kind(
    api, model, monkeypatch, number, status, code
):
    """The disk of the blobs, where a large file of actuals is kept."""

    def full(*_: object, **__: object) -> None:
        raise OSError(number, "planted")

    monkeypatch.setattr(blobs.LocalStorage, "_save", full)
    rows = b"inference_id\n" + b"a\n" * 10_001
    path = f"{MODEL}/ground-truth"
    answer = api.generic("POST", path, rows, content_type="text/csv")
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert ("Retry-After" in answer) == (status == 503)


OBJECT_STORE = [
    ClientError({"Error": {"Code": "SlowDown"}}, "PutObject"),
    ClientError({"Error": {"Code": "AccessDenied"}}, "PutObject"),
    EndpointConnectionError(endpoint_url="http://nowhere"),
]


@pytest.mark.django_db
@pytest.mark.parametrize("error", OBJECT_STORE, ids=repr)
def test_an_object_store_that_fails_is_a_503(api, model, monkeypatch, error):
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(type(storages["default"]), "_save", fail)
    rows = b"inference_id\n" + b"a\n" * 10_001
    path = f"{MODEL}/ground-truth"
    answer = api.generic("POST", path, rows, content_type="text/csv")
    assert (answer.status_code, answer["Retry-After"]) == (503, "2")


STATES = {
    "53100": 507,  # disk full
    "53300": 503,  # too many connections
    "57P01": 503,  # shut down
    "57P03": 503,  # starting
    "40P01": 503,  # deadlock
    "55P03": 503,  # lock timeout
    "57014": 422,  # statement timeout
    "08006": 503,  # connection lost
    "25006": 503,  # read-only
    "22003": 400,  # number out of range
    "22021": 400,  # no such character
    "22P02": 400,  # no such text
}


@pytest.mark.parametrize(("state", "status"), STATES.items())
def test_errors_of_the_database_are_told_by_their_class(state, status):
    cause = (
        psycopg.errors.lookup(state)()
        if state != "08006"
        else psycopg.OperationalError()
    )
    try:
        with connections["default"].wrap_database_errors:
            raise cause
    except utils.Error as error:
        ours = as_store_error(error)
    assert ours is not None
    assert ours.status == status


def test_a_fault_of_ours_stays_one():
    for error in (ValueError("x"), KeyError("x"), FileNotFoundError("x"), None):
        assert as_store_error(error) is None
    assert as_store_error(utils.IntegrityError("x")) is None
