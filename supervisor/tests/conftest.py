"""What the tests of the supervisor share."""

from __future__ import annotations

import psycopg
import pytest
from django.conf import settings


@pytest.fixture
def fresh_database():
    """The URL of an empty database on the server of the tests."""
    home = settings.ISTORE_HOME
    password = home.secret("pg_password")
    given = {"host": str(home.run), "user": "istore", "password": password}
    with psycopg.connect(dbname="postgres", autocommit=True, **given) as server:
        server.execute("CREATE DATABASE given")
        yield f"postgresql://istore:{password}@/given?host={home.run}"
        server.execute("DROP DATABASE given WITH (FORCE)")
