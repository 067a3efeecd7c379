"""Two of each process, on two hosts: under load with kills, at their stop, and of two releases."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import pytest

from istore.tests.running_store import free_ports, wait_until
from tests.clients_under_load import Clients, call, read_all_stored
from tests.processes_of_a_store import ROOT, Host, servers

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="groups of processes are killed"
)
ROLES = ("proxy", "listener", "worker", "beat", "web")
LAST_RELEASE = (ROOT / "tests" / "last_release").read_text().strip()


@pytest.fixture(scope="module")
def upstream():
    (port,) = free_ports(1)
    granian = [sys.executable, "-m", "granian", "--interface", "asginl"]
    with subprocess.Popen(
        [*granian, "--port", str(port), "tests.slow_upstream:application"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        yield port
        server.terminate()


@pytest.fixture(scope="module")
def shared(tmp_path_factory, upstream):
    """The settings that all hosts share, with an empty and migrated database."""
    with servers(tmp_path_factory.mktemp("servers")) as settings:
        settings["ISTORE_UPSTREAM_ALLOW"] = f"127.0.0.1:{upstream}"
        yield settings


@pytest.fixture(scope="module")
def token(shared, upstream, tmp_path_factory):
    host = Host(tmp_path_factory.mktemp("first"), shared)
    host.manage("migrate", "--verbosity=0")
    asked = ("test", "--project=default", "--role=administrator")
    found = host.manage("create_token", *asked).split()[-1]
    host.start("web")
    host.wait()
    model = {
        "model_id": "echo",
        "project_id": "default",
        "task_type": "Image Classification",
        "upstream_url": f"http://127.0.0.1:{upstream}",
        "enable_inference_storage": True,
    }
    status, _, answer = call(host.port, found, "/api/v1/models", model)
    assert status == 201, answer
    host.stop()
    return found


@pytest.fixture
def hosts(shared, token, tmp_path):
    """Two hosts that run nothing yet."""
    found = [Host(tmp_path / name, dict(shared)) for name in ("one", "two")]
    yield found
    for host in found:
        host.stop()


def sent(clients: Clients, more: int) -> None:
    before = len(clients.recorded)
    wait_until(lambda: len(clients.recorded) > before + more, 60)


def check_all_stored(clients: Clients, port: int, token: str) -> None:
    try:
        wait_until(
            lambda: clients.recorded.keys() <= read_all_stored(port, token).keys(), 60
        )
    finally:
        found = read_all_stored(port, token)
        left = sorted(clients.recorded.keys() - found.keys())
        assert not left, f"{len(left)} of {len(clients.recorded)}: {left[:5]}"
    for name, (picture, answer) in clients.recorded.items():
        assert found[name]["data"].encode() == answer
        assert found[name]["data_hash"] == hashlib.sha256(picture).hexdigest()


def test_one_of_each_is_killed_under_load_and_each_recorded_call_is_stored_once(
    hosts, token
):
    one, two = hosts
    for host in hosts:
        host.start(*ROLES)
    for host in hosts:
        host.wait()
    with Clients([one.proxy_port, two.proxy_port], token) as clients:
        for role in ROLES:
            sent(clients, 30)
            one.kill(role)
        sent(clients, 30)
        # The host comes back: its proxy sends what the killed one had answered.
        one.start(*ROLES)
        one.wait()
        sent(clients, 30)
    check_all_stored(clients, one.port, token)
    assert (
        read_all_stored(two.port, token).keys()
        == read_all_stored(one.port, token).keys()
    )


def test_each_role_finishes_what_it_has_begun_when_it_is_told_to_stop(hosts, token):
    host, other = hosts
    host.settings |= {
        "ISTORE_DRAIN_SECONDS": "2",
        "ISTORE_GRACE_SECONDS": "10",
        "ISTORE_DRAIN_SPOOL_SECONDS": "20",
    }
    host.start("proxy", "web", "listener", "worker")
    other.start("web")
    for each in hosts:
        each.wait()
    clients = Clients([host.proxy_port], token)
    body = {
        "id": "slow",
        "inputs": [{"name": "x", "datatype": "BYTES", "shape": [1], "data": ["slow"]}],
    }
    path = "/v2/models/echo/infer?seconds=4"
    with ThreadPoolExecutor(2) as threads:
        slow = threads.submit(call, host.proxy_port, token, path, body)
        time.sleep(1)
        stopping = {role: host.terminate(role) for role in ("proxy", "web")}
        time.sleep(0.5)
        # Out of service first, though calls that still come are answered.
        assert host.status("proxy", "/v2/health/ready") == 503
        assert host.status("web", "/health/ready") == 503
        assert host.status("web", "/health/live") == 200
        assert clients.infer(host.proxy_port, "late") == "recorded"
        status, headers, _ = slow.result()  # it took longer than the drain
    assert (status, headers["Inference-Store"]) == (200, "recorded")
    assert stopping["proxy"].wait(40) == 0
    assert stopping["web"].wait(20) == 0
    assert host.status("proxy", "/v2/health/live") is None
    # The proxy took nothing with it: its spool is empty.
    assert not [*(host.home / "spool").glob("*.open")]
    assert not [*(host.home / "spool").glob("*.closed")]
    wait_until(
        lambda: {"slow", "late"} <= read_all_stored(other.port, token).keys(), 30
    )
    assert host.terminate("listener").wait(20) == 0
    assert host.terminate("worker").wait(30) == 0
    assert "Traceback" not in host.log("listener") + host.log("worker")


def has_last_release() -> bool:
    asked = ["git", "cat-file", "-e", LAST_RELEASE]
    return subprocess.run(asked, cwd=ROOT, capture_output=True).returncode == 0


@pytest.mark.skipif(not has_last_release(), reason="the history has no last release")
def test_the_last_release_runs_beside_this_one_on_the_new_schema(
    hosts, token, shared, tmp_path
):
    code = tmp_path / "last"
    done = subprocess.run(
        ["git", "archive", LAST_RELEASE], cwd=ROOT, capture_output=True, check=True
    )
    with tarfile.open(fileobj=BytesIO(done.stdout)) as archive:
        archive.extractall(code, filter="data")
    new = hosts[0]
    old = Host(tmp_path / "old", dict(shared), code=code)
    try:
        for host in (new, old):
            host.start("proxy", "web", "listener", "worker")
        for host in (new, old):
            host.wait()
        with Clients([new.proxy_port, old.proxy_port], token) as clients:
            sent(clients, 60)
            old.kill("listener")  # what the old proxy sends is written by the new one
            sent(clients, 30)
            old.start("listener")
            new.kill("listener")  # and the other way round
            sent(clients, 30)
            new.start("listener")
        check_all_stored(clients, new.port, token)
        # Either release reads what the other wrote.
        assert (
            read_all_stored(old.port, token).keys()
            == read_all_stored(new.port, token).keys()
        )
        for host in (old, new):
            path = "/api/v1/models/echo/inferences/count"
            status, _, answer = call(host.port, token, path, {})
            assert status == 200, answer
            assert json.loads(answer)["count"] == len(read_all_stored(new.port, token))
        for role in ("proxy", "web", "listener", "worker"):
            assert "Traceback" not in old.log(role), old.log(role)
            assert "Traceback" not in new.log(role), new.log(role)
    finally:
        old.stop()
