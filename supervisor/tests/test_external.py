import pytest
import redis
from django.conf import settings

from istore.tests.running_store import RunningStore, free_ports
from supervisor import external


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
    store.env["ISTORE_REDIS_URL"] = settings.ISTORE_REDIS_URL.replace("db=0", "db=9")
    with store.up() as running:
        assert store.answers()
        assert not (store.home / "postgres").exists()
        assert not (store.home / "redis").exists()
        assert running.interrupt() < 10
