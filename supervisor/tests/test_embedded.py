import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import redis
from django.conf import settings
from django.db import connection

from istore.home import Home
from istore.service_user import ServiceUser
from supervisor import embedded

as_root = pytest.mark.skipif(os.getuid() != 0, reason="is about being root")


@contextmanager
def servers_in(root):
    """Both servers, ready, in a home at this path."""
    home = Home(root)
    try:
        with embedded.running(home, careless=True):
            yield home
    finally:
        shutil.rmtree(home.run, ignore_errors=True)


def settings_of_database():
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, setting FROM pg_settings")
        return dict(cursor.fetchall())


def test_the_database_listens_on_its_socket_alone_and_has_checksums(db):
    found = settings_of_database()
    assert found["listen_addresses"] == ""
    assert found["unix_socket_permissions"] == "0700"
    assert found["data_checksums"] == "on"
    assert found["server_encoding"] == "UTF8"
    assert found["TimeZone"] == "UTC"


def test_text_is_ordered_by_code_point_in_utf_8(db):
    with connection.cursor() as cursor:
        words = ["Z", "a", "a b", "a-c", "ab", "\u00e9", "\uffee", "\U0001f6a2"]
        cursor.execute(
            "SELECT array_agg(word ORDER BY word) FROM unnest(%s::text[]) AS given (word)",
            [words],
        )
        assert cursor.fetchone() == (words,)
        cursor.execute("SELECT upper('é')")
        assert cursor.fetchone() == ("É",)


def test_a_small_machine_gets_a_small_database(tmp_path, settings):
    database = embedded.Postgres(Home(tmp_path), ServiceUser(os.getuid(), os.getgid()))
    usual = database.options()
    settings.ISTORE_SMALL = True
    small = database.options()
    assert usual.items() - small.items() != set()
    assert small["shared_buffers"] == "64MB"
    assert small["max_connections"] == "40"


def test_a_wrong_password_is_refused():
    with pytest.raises(
        psycopg.OperationalError, match="password authentication failed"
    ):
        psycopg.connect(
            host=str(settings.ISTORE_HOME.run),
            user="istore",
            password="wrong",
            dbname="postgres",
        )


def test_the_broker_keeps_what_it_is_given():
    with redis.Redis.from_url(settings.ISTORE_REDIS_URL, decode_responses=True) as one:
        assert one.config_get("appendonly") == {"appendonly": "yes"}
        assert one.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        if settings.ISTORE_REDIS_URL.startswith("unix:"):
            assert one.config_get("port") == {"port": "0"}


def test_servers_start_below_any_path(tmp_path):
    """Spaces, quotes and a name too long for a socket's path."""
    root = tmp_path / "a \"b\" 'c' \\x41 é" / ("long" * 20)
    with servers_in(root) as home:
        assert home.run != root / "run"
        with redis.Redis(unix_socket_path=str(home.run / "redis.sock")) as client:
            assert client.set("key", "value")
    assert list((root / "redis" / "appendonlydir").iterdir())


@as_root
def test_roots_servers_run_as_nobody_behind_a_closed_directory():
    closed = Path(tempfile.mkdtemp())  # 0700, as below /root
    try:
        with servers_in(closed / "home") as home:
            database = home.root / "postgres"
            assert database.stat().st_uid == ServiceUser.for_home(home.root).uid != 0
    finally:
        shutil.rmtree(closed)


@as_root
def test_a_capability_is_kept_only_when_a_directory_is_closed():
    user = ServiceUser(65534, 65534)
    root = Path(tempfile.mkdtemp())
    inner = root / "inner"
    inner.mkdir()
    program = Path(shutil.which("sh"))
    assert user.missing_capability(program, [inner / "file"]) is not None
    root.chmod(0o711)
    assert user.missing_capability(program, [inner / "file"]) is None
    inner.chmod(0o700)
    assert user.missing_capability(program, [inner / "file"]) is not None
    os.chown(inner, 65534, 65534)
    assert user.missing_capability(program, [inner / "file"]) is None
    shutil.rmtree(root)


def test_an_interrupted_first_start_is_begun_anew(tmp_path):
    (tmp_path / "postgres.new").mkdir()
    (tmp_path / "postgres.new" / "PG_VERSION").write_text("18\n")
    home, user = Home(tmp_path), ServiceUser.for_home(tmp_path)
    embedded.make_run_directory(home, user)
    database = embedded.Postgres(home, user, careless=True)
    database.prepare()
    assert (database.directory / "global" / "pg_control").exists()
    assert not (tmp_path / "postgres.new").exists()
    assert not (home.run / "initdb.password").exists()
    shutil.rmtree(home.run, ignore_errors=True)


def test_a_directory_that_is_no_database_is_left_alone(tmp_path):
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "thesis.txt").write_text("mine")
    database = embedded.Postgres(Home(tmp_path), ServiceUser.for_home(tmp_path))
    with pytest.raises(embedded.Unusable, match="is not a database directory"):
        database.prepare()
    assert (tmp_path / "postgres" / "thesis.txt").exists()


def test_sizes_follow_the_machine_within_bounds(monkeypatch):
    database = embedded.Postgres(settings.ISTORE_HOME, ServiceUser(1, 1))
    monkeypatch.setattr(embedded, "memory_size", lambda: 512 * embedded.MIB)
    assert database.options()["shared_buffers"] == "128MB"
    monkeypatch.setattr(embedded, "memory_size", lambda: 256 * embedded.GIB)
    assert database.options()["shared_buffers"] == "4096MB"
    assert database.options()["maintenance_work_mem"] == "1024MB"


def test_the_role_of_the_store_is_no_superuser(db):
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_user, rolsuper, rolcreaterole, rolreplication, rolbypassrls "
            "FROM pg_roles WHERE rolname = current_user"
        )
        assert cursor.fetchone() == ("istore_app", False, False, False, False)


def run_in(home, program, *arguments, user, password):
    return subprocess.run(
        [
            *(embedded.Postgres(home, None).programs / program, "-h", home.run),
            *("-U", user, *arguments),
        ],
        env={**os.environ, "PGPASSWORD": password},
        capture_output=True,
        text=True,
    )


def test_a_home_of_one_role_is_brought_along(tmp_path):
    """As an older release left it: everything belongs to the superuser."""
    with servers_in(tmp_path / "home") as home:
        server = embedded.Postgres(home, ServiceUser.for_home(home.root), careless=True)
        with server.connect("istore") as connection:
            connection.execute("ALTER DATABASE istore OWNER TO istore")
            connection.execute("ALTER SCHEMA public OWNER TO istore")
            for statement in (
                "CREATE TABLE a (id bigserial PRIMARY KEY, v vector(3)) ",
                "INSERT INTO a (v) VALUES ('[1,2,3]')",
                "CREATE TABLE p (id int) PARTITION BY RANGE (id)",
                'CREATE TABLE "P one" PARTITION OF p FOR VALUES FROM (1) TO (2)',
                "CREATE SEQUENCE alone",
                "CREATE VIEW seen AS SELECT * FROM a",
                "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql "
                "AS 'BEGIN RETURN new; END'",
                "CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW EXECUTE FUNCTION f()",
                "CREATE TYPE kind AS ENUM ('x')",
            ):
                connection.execute(statement)
        server.create_database()
        server.create_database()  # a second start finds nothing to do

        ours = psycopg.connect(
            host=str(home.run),
            dbname="istore",
            user="istore_app",
            password=server.role_password,
            autocommit=True,
        )
        with ours:
            ours.execute("ALTER TABLE a ADD COLUMN w int DEFAULT 1")
            ours.execute('ALTER TABLE p DETACH PARTITION "P one"')
            ours.execute('DROP TABLE "P one"')
            ours.execute("ALTER SEQUENCE alone RESTART")
            ours.execute("ALTER TYPE kind ADD VALUE 'y'")
            ours.execute("CREATE OR REPLACE VIEW seen AS SELECT id, v FROM a")
            ours.execute("CREATE INDEX near ON a USING hnsw (v vector_l2_ops)")
            ours.execute("VACUUM (FULL) a")
            ours.execute("DROP TRIGGER t ON a; DROP FUNCTION f()")
            ours.execute("INSERT INTO a (v) VALUES ('[1,2,4]')")
            for forbidden in (
                "COPY (SELECT 1) TO PROGRAM 'true'",
                "SELECT pg_read_file('PG_VERSION')",
                "ALTER ROLE istore_app SUPERUSER",
                "SET session_replication_role = replica",
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    ours.execute(forbidden)
        dumped = run_in(
            home,
            "pg_dump",
            "istore",
            user="istore_app",
            password=server.role_password,
        )
        assert dumped.returncode == 0, dumped.stderr
        assert "[1,2,4]" in dumped.stdout
