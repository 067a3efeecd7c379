"""A connection that the server ended is replaced before it fails a request."""

from __future__ import annotations

import select

import pytest
from django.db import connection

from istore.db.kept_connections import close_ended_connection

pytestmark = pytest.mark.django_db(transaction=True)


def backend() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        found: int = cursor.fetchone()[0]
    return found


def test_a_connection_that_the_server_ended_is_replaced():
    ended = backend()
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [ended])
    other.close()
    select.select([connection.connection.fileno()], [], [], 20)  # its end has come

    close_ended_connection()

    assert backend() != ended


def test_one_that_lives_is_kept_and_none_is_opened():
    kept = backend()
    close_ended_connection()
    assert backend() == kept
    connection.close()
    close_ended_connection()
    assert connection.connection is None
