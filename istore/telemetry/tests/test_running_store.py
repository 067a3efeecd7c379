"""A whole store from outside: each role's endpoint, two web workers that add up, one request id."""

from __future__ import annotations

import re
import socket
from http.client import HTTPConnection
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from istore.telemetry.metrics import BEAT, LISTENER, PROXY, WEB, WORKER
from istore.tests.running_store import RunningStore, free_ports, wait_until
from istore.upstreams import OBSERVED

CALLS = 40
ROUTE = {"route": "/health/live", "method": "GET", "status": "2xx"}


def ask(port: int, path: str, **headers: str) -> tuple[int, str, dict[str, str]]:
    # A connection for each, so that the kernel spreads them over the web workers.
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, answer.read().decode(), headers
    finally:
        connection.close()


def first_of(count: int) -> int:
    """A port behind which others are free."""
    while True:
        (port,) = free_ports(1)
        if port < 65000 and all(free_port(port + n) for n in range(count)):
            return port


def free_port(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def requests_of(text: str) -> float:
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "istore_http_request_duration_seconds_count"
        and sample.labels == ROUTE
    )


def test_every_role_tells_its_metrics_and_two_web_workers_add_up(tmp_path):
    store = RunningStore(tmp_path / "home")
    first = first_of(len(OBSERVED))
    store.env |= {"ISTORE_METRICS_PORT": str(first), "ISTORE_WEB_WORKERS": "2"}
    ports = {name: first + n for n, name in enumerate(OBSERVED)}
    with store.up() as running:
        for _ in range(CALLS):
            assert ask(store.port, "/health/live")[0] == 200
        wait_until(
            lambda: requests_of(ask(store.port, "/metrics")[1]) >= CALLS, seconds=10
        )
        # Whichever of the two answers, it tells the same; and it took both to answer.
        told = {requests_of(ask(store.port, "/metrics")[1]) for _ in range(10)}
        assert told == {CALLS}
        files = list(Path(store.home, "run").glob("web-*.counts"))
        assert len(files) == 2

        of_role = {
            WEB: (store.port, "istore_tasks{"),
            PROXY: (store.proxy_port, "istore_spool_bytes "),
            LISTENER: (ports["listener"], "istore_stream_lag_events "),
            WORKER: (ports["worker"], "istore_tasks_running "),
            BEAT: (ports["beat"], "istore_beat_last_tick_timestamp_seconds "),
        }
        for role, (port, family) in of_role.items():
            status, text, _ = ask(port, "/metrics")
            assert status == 200
            assert re.search(
                rf'istore_build_info{{role="{role}",version=".+"}} 1', text
            )
            assert family in text
            failed = re.findall(r'istore_collector_failed{collector="(.+)"} 1', text)
            assert failed == [], role
            assert ask(port, "/metrics", Authorization="Bearer x")[0] == 401
        assert (
            'istore_build_info{role="worker"' in ask(ports["exporter"], "/metrics")[1]
        )
        # Beat's ticks reach a worker, which tells how long they took.
        wait_until(
            lambda: (
                'task="istore.tasks.ring_again"' in ask(ports["worker"], "/metrics")[1]
                or 'task="services.tasks.tend_sessions"'
                in ask(ports["worker"], "/metrics")[1]
            )
        )
        _, _, headers = ask(store.port, "/login", **{"X-Request-ID": "night-watch:7"})
        assert headers["x-request-id"] == "night-watch:7"
        wait_until(lambda: "request_id=night-watch:7" in store.log(), seconds=10)
        running.interrupt()
