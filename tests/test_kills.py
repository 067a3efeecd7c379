"""Every part of a running store is killed under load; what was recorded is kept.

The whole stack runs as an operator runs it. Clients send and note what the answers said;
process after process gets SIGKILL; in the end the store and the notes agree.
``STORE_KILLS`` says how often; by hand, for instance::

    STORE_KILLS=60 python -m pytest -n0 -s tests/test_kills.py
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from itertools import cycle, islice
from urllib.parse import quote

import pytest

from istore.child_process import LONGEST_PAUSE, MEMORY_SECONDS
from istore.tests.running_store import (
    RunningStore,
    children_named,
    descendants,
    free_ports,
    wait_until,
)
from tests.clients_under_load import Clients, call, read_all_stored

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="looks at processes by /proc"
)
CLIENTS = 3
VICTIMS = {
    "proxy": "proxy.serve",
    "capture": "proxy.capture.worker",
    "listener": "manage.py listen",
    "worker": "worker",
    "database": "postgres",
    "broker": "valkey",
}
# What is killed often is started again after a pause that doubles each time.
AGAIN = LONGEST_PAUSE + 30
# A database that fails three times in a minute stops the store, which says so.
OFTEN = MEMORY_SECONDS / 2 + 1
KILLS = int(os.environ.get("STORE_KILLS", len(VICTIMS)))


@pytest.fixture
def upstream():
    (port,) = free_ports(1)
    argv = [
        sys.executable,
        "-m",
        "granian",
        "--interface",
        "asginl",
        "--port",
        str(port),
    ]
    with subprocess.Popen(
        [*argv, "tests.echo_upstream:application"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        yield port
        server.terminate()


def victims_of(root: int, words: str) -> list[int]:
    """The processes of a store with these words in their command lines."""
    below = children_named(root, words)
    # Capture is a child of the proxy.
    return below or [
        pid for each in descendants(root) for pid in children_named(each, words)
    ]


def test_whatever_is_killed_recorded_inferences_are_stored_once(tmp_path, upstream):
    store = RunningStore(tmp_path / "home")
    store.env["ISTORE_UPSTREAM_ALLOW"] = f"127.0.0.1:{upstream}"
    # Under a killed broker and database a reclaim should not wait for half a minute.
    store.env |= {"ISTORE_EVENT_IDLE_SECONDS": "2", "ISTORE_RECONCILE_MINUTES": "1"}
    with store.up() as running:
        token = running.wait_for("token for project default: ").split()[-1]
        model = {
            "model_id": "echo",
            "project_id": "default",
            "task_type": "Image Classification",
            "upstream_url": f"http://127.0.0.1:{upstream}",
            "enable_inference_storage": True,
        }
        status, _, answer = call(store.port, token, "/api/v1/models", model)
        assert status == 201, answer
        with Clients([store.proxy_port], token, CLIENTS) as clients:
            killed_at = dict.fromkeys(VICTIMS.values(), 0.0)
            for words in islice(cycle(VICTIMS.values()), KILLS):
                time.sleep(max(0.0, killed_at[words] + OFTEN - time.monotonic()))
                killed_at[words] = time.monotonic()
                before = len(clients.recorded)
                wait_until(lambda b=before: len(clients.recorded) > b + 30, AGAIN)
                # Calls are recorded while a part that was killed starts again.
                wait_until(lambda w=words: victims_of(running.process.pid, w), AGAIN)
                for pid in victims_of(running.process.pid, words):
                    subprocess.run(
                        ["kill", f"-{int(signal.SIGKILL)}", str(pid)], check=True
                    )
            before = len(clients.recorded)
            wait_until(lambda: len(clients.recorded) > before + 30, AGAIN)
        wait_until(lambda: store.answers(), 60)
        wait_until(
            lambda: (
                clients.recorded.keys() <= read_all_stored(store.port, token).keys()
            ),
            90,
        )

        found = read_all_stored(store.port, token)
        for name, (picture, answer) in clients.recorded.items():
            assert found[name]["data_hash"] == hashlib.sha256(picture).hexdigest()
            assert found[name]["data"].encode() == answer
        for name in list(clients.recorded)[::50]:
            path = f"/api/v1/models/echo/inferences/{quote(name, safe='')}"
            for part, content in clients.recorded[name]._asdict().items():
                assert call(store.port, token, f"{path}/{part}")[2] == content
        # Nothing but what was sent: an id that stands twice would have a mark behind it.
        assert not [name for name in found if "~" in name]
