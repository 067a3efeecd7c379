"""``ISTORE_RATE_PER_MINUTE`` and whose address a call counts for."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest
import redis
from django.test import Client
from redis.connection import AbstractConnection
from rest_framework.test import APIClient

from istore.api import rate_limits
from istore.api.rate_limits import CallNumbers, LocalCounts, SharedCounts
from istore.web.client_address import address_key, client_address

MINUTE = count(30_000_000)


@pytest.fixture(autouse=True)
def still_minute(monkeypatch):
    """Each test has a minute of its own, which does not end while it runs."""
    at = next(MINUTE) * 60
    monkeypatch.setattr(rate_limits.time, "time", lambda: at + 0.5)


@pytest.fixture
def limit(settings):
    settings.ISTORE_RATE_PER_MINUTE = 3
    return 3


def statuses(ask, times):
    return [ask().status_code for _ in range(times)]


def test_a_token_has_so_many_calls_a_minute(limit, api):
    assert statuses(lambda: api.get("/api/v1/models"), 5) == [200] * 3 + [429] * 2


def test_one_too_many_says_when_to_come_again(limit, api):
    statuses(lambda: api.get("/api/v1/models"), limit)
    answer = api.get("/api/v1/models")

    assert answer.json()["code"] == "rate-limited"
    assert 1 <= int(answer["Retry-After"]) <= 61


def test_wrong_tokens_count_for_their_address(limit, db):
    secrets = (f"ist_{n}" for n in count())

    def ask(address="192.0.2.7"):
        headers = {"authorization": f"Bearer {next(secrets)}"}
        return Client().get("/api/v1/models", headers=headers, REMOTE_ADDR=address)

    assert statuses(ask, 5) == [401] * 3 + [429] * 2
    assert ask("192.0.2.8").status_code == 401


def test_wrong_tokens_of_sessions_count_too(limit, db):
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION="Bearer iss_wrong")
    path = "/api/v1/inferencesessions/0123456789abcdef0123456789abcdef"

    assert statuses(lambda: client.get(path), 4) == [401] * 3 + [429]


def test_a_good_token_works_from_an_address_of_wrong_ones(limit, api):
    wrong = {"authorization": "Bearer ist_wrong"}
    statuses(lambda: Client().get("/api/v1/models", headers=wrong), 5)

    assert api.get("/api/v1/models").status_code == 200


@pytest.mark.parametrize(
    "path", ["/api/v1/models", "/login", "/nowhere", "/api/nowhere"]
)
def test_calls_without_a_token_count_for_their_address(limit, db, path):
    assert statuses(lambda: Client().get(path), 5)[3:] == [429, 429]


@pytest.mark.parametrize("path", ["/api/v1/nowhere", "/api/schema"])
def test_a_token_that_no_view_looks_up_does_not_escape_the_limit(limit, db, path):
    headers = {"authorization": "Bearer ist_wrong"}

    assert statuses(lambda: Client().get(path, headers=headers), 5)[3:] == [429, 429]


@pytest.mark.parametrize("path", ["/", "/api/v1/models"])
def test_a_person_has_so_many_calls_from_any_address(limit, admin_client, path):
    addresses = (f"192.0.2.{n}" for n in count(1))

    def ask():
        return admin_client.get(path, REMOTE_ADDR=next(addresses))

    assert statuses(ask, 5) == [200] * 3 + [429] * 2


def test_a_person_is_not_held_up_by_strangers_at_the_address(limit, admin_client):
    statuses(lambda: Client().get("/login"), 5)

    assert admin_client.get("/").status_code == 200


def test_a_refused_call_changes_nothing(limit, admin_client, project):
    statuses(lambda: admin_client.get("/"), limit)
    data = {"name": "late", "role": "editor", "life": "90"}
    answer = admin_client.post("/projects/harbour/tokens", data)

    assert answer.status_code == 429
    assert "Retry-After" in answer
    assert not project.tokens.exists()


def test_health_is_never_limited(limit, db):
    assert set(statuses(lambda: Client().get("/health/live"), 6)) == {200}


def test_zero_switches_the_limit_off(settings, api):
    settings.ISTORE_RATE_PER_MINUTE = 0

    assert set(statuses(lambda: api.get("/api/v1/models"), 6)) == {200}


def test_without_valkey_each_process_counts_by_itself(
    limit, settings, tmp_path, api, monkeypatch
):
    settings.ISTORE_REDIS_URL = f"unix://{tmp_path}/nothing.sock?db=0"
    monkeypatch.setattr(rate_limits, "shared", SharedCounts())

    assert statuses(lambda: api.get("/api/v1/models"), 5) == [200] * 3 + [429] * 2


def test_a_count_has_an_end_even_if_its_process_dies_at_once(monkeypatch):
    counts = SharedCounts()
    counts.add("token:other")  # it has connected
    send, sent = AbstractConnection.send_packed_command, []

    def send_once(connection, *arguments, **options):
        sent.append(arguments)
        if len(sent) > 1:
            raise redis.ConnectionError("The process has died.")
        send(connection, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(AbstractConnection, "send_packed_command", send_once)
        counts.add("token:1")
    (key,) = counts._client.keys(f"istore:rate:token:1:{int(time.time()) // 60}")
    assert int(counts._client.get(key)) == 1
    assert 0 < counts._client.ttl(key) <= 120


def test_numbers_are_drawn_together_and_each_is_given_once(monkeypatch):
    added = []
    add = rate_limits.shared.add
    monkeypatch.setattr(
        rate_limits.shared, "add", lambda *given: added.append(given) or add(*given)
    )
    here, there = CallNumbers(), CallNumbers()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: here.next("token:drawn", 50), range(40)))
    first = there.next("token:drawn", 50)

    assert len({*found, first}) == 41
    assert len(added) < 10
    assert first > 50


def test_numbers_of_a_minute_are_not_used_in_the_next(monkeypatch):
    counts = CallNumbers()
    for _ in range(3):
        counts.next("token:over", 50)
    later = time.time() + 60
    monkeypatch.setattr(rate_limits.time, "time", lambda: later)

    assert counts.next("token:over", 50) == 1


def test_counts_of_a_process_are_bounded(monkeypatch):
    monkeypatch.setattr(rate_limits, "MOST_CALLERS", 10)
    counts = LocalCounts()
    for number in range(35):
        counts.add(f"address:{number}")

    assert len(counts._calls) <= 10


def test_forwarded_addresses_are_believed_of_trusted_proxies_alone(settings):
    settings.ISTORE_TRUSTED_PROXIES = ["10.0.0.0/8", "::1"]

    assert client_address("192.0.2.1", ["198.51.100.1"]) == "192.0.2.1"
    assert client_address("10.0.0.1", ["198.51.100.1"]) == "198.51.100.1"
    assert client_address("10.0.0.1", ["203.0.113.9, 198.51.100.1"]) == "198.51.100.1"
    assert client_address("10.0.0.1", ["198.51.100.1, 10.0.0.2"]) == "198.51.100.1"
    assert client_address("10.0.0.1", ["198.51.100.1", "10.0.0.2"]) == "198.51.100.1"
    assert client_address("::ffff:10.0.0.1", ["198.51.100.1:4711"]) == "198.51.100.1"
    assert client_address("::1", ["[2001:db8::1]:4711"]) == "2001:db8::1"
    assert client_address("10.0.0.1", ["unknown"]) == "10.0.0.1"
    assert client_address("10.0.0.1", ["198.51.100.1, unknown"]) == "10.0.0.1"
    assert client_address("10.0.0.1") == "10.0.0.1"


def test_a_client_of_ipv6_counts_by_its_network():
    assert address_key("2001:db8::1") == address_key("2001:db8::ffff:1")
    assert address_key("2001:db8::1") != address_key("2001:db8:0:1::1")
    assert address_key("::ffff:192.0.2.1") == address_key("192.0.2.1") == "192.0.2.1"


def test_a_stranger_cannot_choose_the_address_that_is_counted(limit, db):
    claims = (f"203.0.113.{n}" for n in count(1))

    def ask():
        return Client().get("/login", headers={"x-forwarded-for": next(claims)})

    assert statuses(ask, 5) == [200] * 3 + [429] * 2


def test_clients_behind_a_trusted_proxy_are_told_apart(limit, settings, db):
    settings.ISTORE_TRUSTED_PROXIES = ["127.0.0.1"]
    claims = (f"203.0.113.{n}" for n in count(1))

    def ask():
        return Client().get("/login", headers={"x-forwarded-for": next(claims)})

    assert statuses(ask, 5) == [200] * 5


@pytest.mark.parametrize("trusted", [[], ["127.0.0.1"]])
def test_https_is_believed_of_a_trusted_proxy_alone(settings, rf, trusted):
    from istore.web.client_address import believing_trusted_proxies

    settings.ISTORE_TRUSTED_PROXIES = trusted
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    seen = []
    request = rf.get("/", headers={"x-forwarded-proto": "https"})
    believing_trusted_proxies(lambda r: seen.append(r.is_secure()))(request)

    assert seen == [bool(trusted)]
