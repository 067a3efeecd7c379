"""Every part of a running store is killed under load; what was recorded is kept.

The whole stack runs as an operator runs it. Clients send and note what the answers said;
process after process gets SIGKILL; in the end the store and the notes agree.
``STORE_KILLS`` says how often; by hand, for instance::

    STORE_KILLS=60 python -m pytest -n0 -s tests/test_kills.py
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from itertools import cycle, islice
from urllib.parse import quote, unquote

import pytest

from istore.child_process import LONGEST_PAUSE, MEMORY_SECONDS
from istore.tests.running_store import (
    RunningStore,
    children_named,
    descendants,
    free_ports,
    wait_until,
)

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


class Clients:
    """Threads that send one inference after the other, and note what was answered."""

    def __init__(self, port: int, token: str) -> None:
        self.port, self.token = port, token
        self.recorded: dict[str, tuple[bytes, bytes]] = {}
        self.sent = 0
        self.going = True
        self.threads = [
            threading.Thread(target=self._send, args=(number,))
            for number in range(CLIENTS)
        ]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.going = False
        for thread in self.threads:
            thread.join(60)

    def _send(self, client: int) -> None:
        number = 0
        while self.going:
            number += 1
            name = f"{client}-{number}"
            try:
                self._infer(name, f"input {name} ".encode() * 50)
            except (OSError, http.client.HTTPException):
                time.sleep(0.05)

    def _infer(self, name: str, picture: bytes) -> None:
        tensor = {
            "name": "image",
            "datatype": "BYTES",
            "shape": [1],
            "data": [base64.b64encode(picture).decode()],
            "parameters": {"content_type": "base64"},
        }
        body = json.dumps({"id": name, "inputs": [tensor]})
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {
            "Authorization": f"Bearer {self.token}",
            "Content-Type": "application/json",
        }
        try:
            connection.request("POST", "/v2/models/echo/infer", body, headers)
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        self.sent += 1
        if response.getheader("Inference-Store") == "recorded":
            # While the database is away an id is a wish: the header says which it became.
            named = unquote(response.getheader("Inference-Id"))
            self.recorded[named] = picture, answer


class Api:
    def __init__(self, port: int, token: str) -> None:
        self.port, self.token = port, token

    def call(self, method: str, path: str, body: dict | None = None) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {
            "Authorization": f"Bearer {self.token}",
            "Content-Type": "application/json",
        }
        content = json.dumps(body) if body is not None else None
        connection.request(method, f"/api/v1/models{path}", content, headers)
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        assert response.status < 300, answer
        return answer

    def stored(self) -> dict[str, dict]:
        """Every inference of the model, by its id."""
        found: dict[str, dict] = {}
        cursor = None
        while True:
            page = {"limit": 1000, "cursor": cursor}
            asked = {"pagination": page}
            answer = json.loads(self.call("POST", "/echo/inferences/filter", asked))
            for each in answer["results"]:
                assert each["inference_id"] not in found
                found[each["inference_id"]] = each
            cursor = answer["next"]
            if cursor is None:
                return found


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
        api = Api(store.port, token)
        model = {
            "model_id": "echo",
            "project_id": "default",
            "task_type": "Image Classification",
            "upstream_url": f"http://127.0.0.1:{upstream}",
            "enable_inference_storage": True,
        }
        api.call("POST", "", model)
        with Clients(store.proxy_port, token) as clients:
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
        wait_until(lambda: clients.recorded.keys() <= api.stored().keys(), 90)

        stored = api.stored()
        for name, (picture, answer) in clients.recorded.items():
            assert stored[name]["data_hash"] == hashlib.sha256(picture).hexdigest()
            assert stored[name]["data"].encode() == answer
        for name in list(clients.recorded)[::50]:
            assert (
                api.call("GET", f"/echo/inferences/{quote(name, safe='')}/input")
                == clients.recorded[name][0]
            )
            assert (
                api.call("GET", f"/echo/inferences/{quote(name, safe='')}/answer")
                == clients.recorded[name][1]
            )
        # Nothing but what was sent: an id that stands twice would have a mark behind it.
        assert not [name for name in stored if "~" in name]
