"""A process that forks: parent and child do not share a connection."""

from __future__ import annotations

import os

import pytest
from django.core.files.storage import storages
from django.db import connection, transaction

from istore.tests.s3_relay import BUCKET, client, options, start_moto

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="There is no fork here."),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]


def backend() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return cursor.fetchone()[0]


def in_child(act) -> int:
    pid = os.fork()
    if pid == 0:
        status = 99
        try:
            status = act()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.django_db(transaction=True)
def test_a_child_has_a_connection_of_its_own_to_the_database():
    mine = backend()
    assert in_child(lambda: int(backend() == mine)) == 0
    assert backend() == mine
    with transaction.atomic():
        backend()
        assert in_child(lambda: int(connection.in_atomic_block)) == 0
        assert backend() == mine


def test_a_child_has_connections_of_its_own_to_the_object_store(settings):
    moto = start_moto()
    try:
        host, port = moto.get_host_and_port()
        url = f"http://{host}:{port}"
        client(url).create_bucket(Bucket=BUCKET)
        backend = {
            "BACKEND": "istore.blobs.s3_storage.S3Storage",
            "OPTIONS": options(url),
        }
        settings.STORAGES = {**settings.STORAGES, "default": backend}
        storage = storages["default"]
        mine = storage.client
        assert in_child(lambda: int(storages["default"].client is mine)) == 0
        assert storage.client is mine
    finally:
        moto.stop()
