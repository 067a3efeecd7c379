"""Clients of a running store: threads that send inferences and note what was answered."""

from __future__ import annotations

import base64
import http.client
import json
import threading
import time
from typing import NamedTuple
from urllib.parse import unquote


class Recorded(NamedTuple):
    """What a store called recorded, byte for byte."""

    input: bytes
    answer: bytes


class Clients:
    """Threads that send inferences to one or several proxies, and note what was recorded."""

    def __init__(self, ports: list[int], token: str, threads: int = 0) -> None:
        self.ports, self.token = ports, token
        self.recorded: dict[str, Recorded] = {}
        self.going = True
        self.threads = [
            threading.Thread(target=self._send, args=(number,))
            for number in range(threads or 2 * len(ports))
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
            # Each goes to all proxies in turn, as a balancer would send it.
            port = self.ports[(client + number) % len(self.ports)]
            try:
                self.infer(port, f"{client}-{number}")
            except (OSError, http.client.HTTPException):
                time.sleep(0.02)

    def infer(self, port: int, name: str) -> str | None:
        """Send one inference; return what the store said about its copy."""
        picture = f"input {name} ".encode() * 50
        tensor = {
            "name": "image",
            "datatype": "BYTES",
            "shape": [1],
            "data": [base64.b64encode(picture).decode()],
            "parameters": {"content_type": "base64"},
        }
        body = {"id": name, "inputs": [tensor]}
        path = "/v2/models/echo/infer"
        status, headers, answer = call(port, self.token, path, body)
        disposition = headers.get("Inference-Store")
        if status == 200 and disposition == "recorded":
            # While the database is away an id is a wish: the header says which it became.
            named = unquote(headers["Inference-Id"])
            self.recorded[named] = Recorded(picture, answer)
        return disposition


def call(port: int, token: str, path: str, body: dict | None = None):
    """Status, headers and body of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
    }
    try:
        content = None if body is None else json.dumps(body)
        method = "GET" if body is None else "POST"
        connection.request(method, path, content, headers)
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def read_all_stored(port: int, token: str) -> dict[str, dict]:
    """Every inference of the model, by its id; none is there twice."""
    found: dict[str, dict] = {}
    cursor = None
    while True:
        page = {"pagination": {"limit": 1000, "cursor": cursor}}
        path = "/api/v1/models/echo/inferences/filter"
        status, _, answer = call(port, token, path, page)
        assert status == 200, answer
        content = json.loads(answer)
        for each in content["results"]:
            assert each["inference_id"] not in found
            found[each["inference_id"]] = each
        cursor = content["next"]
        if cursor is None:
            return found
