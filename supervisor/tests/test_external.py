import pytest
import redis
from django.conf import settings

from istore.tests.running_store import RunningStore, free_ports
from supervisor import external
from tests.redis_databases import database_url


@pytest.fixture
def given_redis(monkeypatch):
    """The broker of the tests, as if it were somebody else's."""
    monkeypatch.setenv("ISTORE_REDIS_URL", settings.ISTORE_REDIS_URL)
    with redis.Redis.from_url(settings.ISTORE_REDIS_URL) as client:
        yield client
        client.config_set("maxmemory-policy", "noeviction")


def test_a_broker_that_keeps_its_work_needs_no_warning(given_redis):
    assert list(external.check(lambda: None)) == []


def test_a_broker_that_may_forget_is_warned_of_in_one_line(given_redis):
    given_redis.config_set("maxmemory-policy", "allkeys-lru")
    (warning,) = external.check(lambda: None)
    assert warning == (
        "ISTORE_REDIS_URL: maxmemory-policy is allkeys-lru and must be noeviction: "
        "work in the queue can be lost."
    )


def test_a_broker_that_does_not_answer_is_named(monkeypatch, settings):
    monkeypatch.setattr(external, "WAIT_SECONDS", 0)
    settings.ISTORE_REDIS_URL = f"redis://127.0.0.1:{free_ports(1)[0]}/0"
    monkeypatch.setenv("ISTORE_REDIS_URL", settings.ISTORE_REDIS_URL)
    with pytest.raises(external.Unreachable, match=r"^ISTORE_REDIS_URL: [^\n]+$"):
        list(external.check(lambda: None))


def test_the_store_runs_on_a_database_and_a_broker_that_are_given(
    tmp_path, fresh_database
):
    store = RunningStore(tmp_path / "home")
    store.env["ISTORE_DATABASE_URL"] = fresh_database
    store.env["ISTORE_REDIS_URL"] = database_url(9)
    with store.up() as running:
        assert store.answers()
        assert not (store.home / "postgres").exists()
        assert not (store.home / "redis").exists()
        assert running.interrupt() < 10


@pytest.fixture
def given_database(monkeypatch):
    """The database of the tests, as if it were somebody else's."""
    monkeypatch.setenv("ISTORE_DATABASE_URL", "postgresql://given")


@pytest.mark.django_db
def test_a_database_as_the_store_makes_it_is_fit(given_database):
    assert not [line for line in external.check(lambda: None) if "case of" in line]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("SERVER_FLOOR", 99, r"the server is PostgreSQL 1\d and must be 99 or newer"),
        ("EXTENSION_FLOOR", (9, 0), r"pgvector is 0\.8\.\d+ and must be"),
        ("WORDS", ["a", "B"], "sorts text by a language"),
    ],
)
def test_a_database_that_is_not_fit_is_refused_in_one_line(
    given_database, monkeypatch, name, value, reason
):
    monkeypatch.setattr(external, name, value)
    with pytest.raises(external.Unreachable, match=reason) as refused:
        list(external.check(lambda: None))
    assert "\n" not in str(refused.value)
