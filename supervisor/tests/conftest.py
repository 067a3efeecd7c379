"""What the tests of the supervisor share with those of shipping it."""

import pytest
from django.conf import settings

from istore.uuids import uuid7


@pytest.fixture
def fresh_database():
    """The URL of an empty database on the server of the tests."""
    import psycopg

    home = settings.ISTORE_HOME
    password = home.secret("pg_password")
    given = {"host": str(home.run), "user": "istore", "password": password}
    with psycopg.connect(dbname="postgres", autocommit=True, **given) as server:
        name = f"given_{uuid7().replace('-', '')}"  # two workers of pytest may need one
        server.execute(f"CREATE DATABASE {name}")
        yield f"postgresql://istore:{password}@/{name}?host={home.run}"
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")
