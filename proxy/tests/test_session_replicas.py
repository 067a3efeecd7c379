"""Calls of a session of processes: shared among its replicas, and passed on when one dies."""

import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from proxy.balancing import Balance
from proxy.sessions.targets import NOT_STORED
from proxy.tests.conftest import Proxied, free_port, wait_until
from services import tests
from services.models import Replica

pytestmark = pytest.mark.django_db

ANSWERING = Path(tests.__path__[0], "answering.py")


@pytest.fixture
def replicas():
    """Three servers, each slow enough that calls meet."""
    ports = [free_port() for _ in range(3)]
    argv = [sys.executable, "-I", "-S", str(ANSWERING)]
    started = [subprocess.Popen([*argv, str(port), "slow"]) for port in ports]
    wait_until(lambda: all(map(answers, ports)), 15)
    yield dict(zip(ports, started, strict=True))
    for each in started:
        each.kill()
        each.wait()


def answers(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/health", timeout=1).ok
    except requests.ConnectionError:
        return False


@pytest.fixture
def session(store, replicas):
    session, secret = store.session("process", {"process": "answering"})

    def note() -> None:
        for number, port in enumerate(replicas, 1):
            Replica.objects.create(
                session=session, number=number, port=port, is_ready=True
            )

    store.thread.submit(note).result()
    return session, secret


@pytest.fixture(scope="module")
def running(store, tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    path = home / "processes.toml"
    path.write_text('[answering]\ncommand = ["true"]\n')
    # Replicas are asked whatever addresses are allowed: nobody but us names them.
    given = {"ISTORE_PROCESSES_FILE": str(path), "ISTORE_UPSTREAM_ALLOW": "10.1.1.1"}
    proxied = Proxied(store, home, given).start()
    yield proxied
    proxied.stop()


def called(proxied, session, count: int) -> Counter:
    """Which ports answered so many calls at a time."""

    def one(_: int) -> int:
        answer = proxied.call(*session, {"n": 1})
        assert answer.status_code == 200, answer.text
        return answer.json()["port"]

    with ThreadPoolExecutor(count) as threads:
        return Counter(threads.map(one, range(count)))


def test_calls_are_shared_and_survive_a_replica(running, session, replicas):
    assert called(running, session, 9) == dict.fromkeys(replicas, 3)
    dead, *alive = replicas
    replicas[dead].kill()
    replicas[dead].wait()
    counted = called(running, session, 6)  # before anybody has noted it
    assert set(counted) == set(alive)


def test_without_a_replica_that_is_ready_a_call_comes_too_soon(running, session, store):
    def none() -> None:
        Replica.objects.filter(session=session[0]).update(is_ready=False)

    store.thread.submit(none).result()
    answer = running.call(*session, {})
    assert (answer.status_code, answer.json()["code"]) == (503, "session-starting")


def test_a_service_of_a_request_cannot_name_a_private_address(running, store, replicas):
    port = next(iter(replicas))
    session = store.session("url", {"url": f"http://127.0.0.1:{port}"})
    answer = running.call(*session, {})
    assert answer.status_code == 502
    assert "not an allowed one" in answer.json()["detail"]


def test_the_least_busy_server_is_asked_first():
    balance = Balance()
    servers = [replace(NOT_STORED, base_url=url) for url in "abc"]
    with balance.counted(servers[0]), balance.counted(servers[1]):
        for _ in range(5):
            assert balance.in_order(servers)[0].base_url == "c"
        with balance.counted(servers[2]), balance.counted(servers[2]):
            assert {balance.in_order(servers)[0].base_url for _ in range(6)} == {
                "a",
                "b",
            }
    assert {balance.in_order(servers)[0].base_url for _ in range(6)} == set("abc")
