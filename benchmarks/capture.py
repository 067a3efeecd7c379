"""Measure capture alone, and the whole way from the proxy to visible rows.

``python benchmarks/capture.py`` starts its own PostgreSQL and Valkey. Three parts:

- *capture alone*: a spool of calls with bodies of 10 KB, captured to committed packs and
  published events by one process. The limit is the same bytes written to one file that is
  synced once, in the same run.
- *the whole way*: upstream, proxy, capture and listener run, and calls come at a fixed rate.
  A rate is steady when the calls without a row are no more at the end of the round than after
  its first third, but for one second of calls. Rates rise until one is not steady.
- *disk*: calls of a table row at 50 a second, and the blocks that their blobs take.

All processes share the processors of this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.proxy import (  # noqa: E402
    BODY_BYTES,
    PROXY,
    UPSTREAM,
    command_of,
    family,
    seconds_of,
    set_up,
    start,
    wait_for,
)

UPSTREAM_PORT, PROXY_PORT = 18_565, 18_566
CONNECTIONS = 16
ANSWER = b'{"model_name":"instant","outputs":[{"name":"score","datatype":"FP32","shape":[1],"data":[0.5]}]}'
TARGETS = {"alone": 5000, "share": 0.5, "whole": 1000, "blocks": 4096}


def v2_body(size: int) -> bytes:
    """Return a request of about this many bytes, with metadata as applications send it."""
    entry = {"name": "text", "datatype": "BYTES", "shape": [1]}
    metadata = [
        {"key": "camera", "type": "string", "value": "south"},
        {"key": "frame", "type": "int", "value": "3"},
    ]
    body = {"inputs": [{**entry, "data": [""]}], "parameters": {"metadata": metadata}}
    body["inputs"][0]["data"] = ["x" * max(0, size - len(json.dumps(body)))]
    return json.dumps(body).encode()


# -- capture alone


def measure_alone(count: int) -> None:
    from inferences.models import RegisteredModel
    from proxy.capture.worker import Capture
    from proxy.spool.spool_files import Ownership, SpoolFile

    model = RegisteredModel.objects.get()
    directory = Path(os.environ["ISTORE_HOME"]) / "spool-alone"
    directory.mkdir()
    owner = "0" * 32
    Ownership.take(directory, owner)
    payloads = [spooled_call(model, number) for number in range(count)]
    fill(SpoolFile(directory, owner, 1), payloads)
    written = sum(map(len, payloads))
    limit = count / write_synced(payloads)
    capture = Capture(directory, owner, threading.Event())
    begun, spent = time.perf_counter(), time.process_time()
    while any(directory.glob("*.closed")):
        capture.look()
    took = time.perf_counter() - begun
    rate, used = count / took, (time.process_time() - spent) / count * 1e6
    print(
        f"capture alone: {rate:.0f}/s of {count} calls, {written / count:.0f} bytes each "
        f"(target {TARGETS['alone']}), {used:.0f} µs of processor time a call"
    )
    print(
        f"  one synced file: {limit:.0f}/s; share {rate / limit:.2f} "
        f"(target {TARGETS['share']})"
    )


def spooled_call(model: object, number: int) -> bytes:
    from istore import blobs
    from istore.db.clock import now
    from istore.uuids import uuid7
    from proxy.spool.entries import Facts, SpoolEntry

    at = now()
    text = at.isoformat(timespec="microseconds").replace("+00:00", "Z")
    facts = Facts(
        model_id=model.model_id,
        task_type=model.task_type,
        inference_ids=[f"alone-{number}"],
        prefixes=[blobs.prefix_for(model.project_id, model.pk, at, uuid7())],
        request_received_at=text,
        request_forwarded_at=text,
        request_responded_at=text,
        status=200,
        request_header_length=None,
        answer_header_length=None,
        answer_content_type="application/json",
    )
    return b"".join(SpoolEntry(facts, v2_body(BODY_BYTES), ANSWER).pieces())


def fill(segment: object, payloads: list[bytes]) -> None:
    from proxy.spool.frames import frame, header

    segment.is_closed = True
    with open(segment.path, "wb") as file:
        file.write(header(segment.identity))
        for number, payload in enumerate(payloads):
            file.write(frame(segment.identity, payload, number))
        file.flush()
        os.fsync(file.fileno())


def write_synced(payloads: list[bytes]) -> float:
    """Return the seconds that writing the payloads to one file takes, with its sync."""
    path = Path(os.environ["ISTORE_HOME"]) / "limit"
    begun = time.perf_counter()
    with open(path, "wb", 0) as file:
        for payload in payloads:
            file.write(payload)
        os.fsync(file.fileno())
    took = time.perf_counter() - begun
    path.unlink()
    return took


# -- the whole way


async def send_paced(rate: float, seconds: float, token: str, size: int) -> int:
    """Send calls at a fixed rate; return how many were answered as recorded."""
    body = v2_body(size)
    head = (
        f"POST /v2/models/instant/infer HTTP/1.1\r\nHost: 127.0.0.1:{PROXY_PORT}\r\n"
        f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    request = head.encode() + body
    due: asyncio.Queue[None] = asyncio.Queue()
    recorded = 0

    async def send() -> None:
        nonlocal recorded
        reader, writer = await asyncio.open_connection("127.0.0.1", PROXY_PORT)
        while True:
            try:
                await due.get()
            except asyncio.CancelledError:
                writer.close()
                raise
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
            recorded += b"inference-store: recorded" in head
            due.task_done()

    tasks = [asyncio.create_task(send()) for _ in range(CONNECTIONS)]
    begun = time.perf_counter()
    for number in range(int(rate * seconds)):
        wait = begun + number / rate - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        due.put_nowait(None)
    await due.join()
    for task in tasks:
        task.cancel()
    return recorded


class Way:
    """Upstream, proxy and listener, and what is waiting between proxy and rows."""

    def __init__(self, home: Path, token: str) -> None:
        self.home, self.token, self.sent = home, token, 0
        with open(home / "listener.log", "ab") as log:
            listener = subprocess.Popen(
                [sys.executable, "manage.py", "listen"],
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )
        self.servers = {
            "upstream": start(UPSTREAM, UPSTREAM_PORT, home / "upstream.log"),
            "proxy": start(PROXY, PROXY_PORT, home / "proxy.log"),
            "listener": listener,
        }
        wait_for(UPSTREAM_PORT)
        wait_for(PROXY_PORT)

    def end(self) -> None:
        for server in self.servers.values():
            server.send_signal(signal.SIGTERM)
        for server in self.servers.values():
            server.wait(30)

    def spent(self) -> dict[str, float]:
        """Return processor seconds by kind of process."""
        proxy = set(family(self.servers["proxy"].pid))
        capture = {pid for pid in proxy if "proxy.capture.worker" in command_of(pid)}
        listener = family(self.servers["listener"].pid)
        return {
            "proxy": sum(map(seconds_of, proxy - capture)),
            "capture": sum(map(seconds_of, capture)),
            "listener": sum(map(seconds_of, listener)),
        }

    def rows(self) -> int:
        from inferences.models import InferenceKey

        return InferenceKey.objects.filter(row_id__isnull=False).count()

    def round(self, rate: float, seconds: float, size: int) -> tuple[bool, int]:
        """Send calls at a rate; return whether it was steady, and how many were recorded."""
        before, spent = self.rows(), self.spent()
        client = subprocess.Popen(
            [sys.executable, __file__, "--client"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        print(
            json.dumps([rate, seconds, self.token, size]), file=client.stdin, flush=True
        )
        client.stdin.close()
        begun, waiting = time.perf_counter(), []
        while client.poll() is None:
            time.sleep(1)
            passed = min(seconds, time.perf_counter() - begun)
            waiting.append(rate * passed - (self.rows() - before))
        took = time.perf_counter() - begun
        recorded = int(client.stdout.read())
        early = waiting[len(waiting) // 3]
        steady = waiting[-1] <= early + rate and took < seconds * 1.1 + 3
        used = {
            name: (value - spent[name]) / recorded * 1e6
            for name, value in self.spent().items()
        }
        costs = ", ".join(f"{name} {value:.0f}" for name, value in used.items())
        print(
            f"  {rate:5.0f}/s for {seconds:.0f} s: {recorded} recorded, "
            f"{early:.0f} waiting early and {waiting[-1]:.0f} at the end: "
            f"{'steady' if steady else 'NOT steady'}; µs a call: {costs}"
        )
        return steady, recorded

    def settle(self, count: int) -> None:
        """Wait until this many calls are rows."""
        while self.rows() < count:
            time.sleep(0.2)


def measure_way(home: Path, token: str, seconds: float) -> None:
    way = Way(home, token)
    try:
        total = way.rows()
        _, warm = way.round(100, 5, BODY_BYTES)
        total += warm
        way.settle(total)
        print("the whole way, proxy to visible rows:")
        best = 0.0
        for rate in (200, 400, 600, 800, 1000, 1200, 1400):
            steady, recorded = way.round(rate, seconds, BODY_BYTES)
            total += recorded
            begun = time.perf_counter()
            way.settle(total)
            if not steady:
                print(f"  worked off {time.perf_counter() - begun:.1f} s later")
                break
            best = rate
        print(f"  highest steady rate: {best:.0f}/s (target {TARGETS['whole']})")
        before = blocks(home / "blobs")
        _, recorded = way.round(50, min(30, seconds), 2400)
        way.settle(total + recorded)
        each = (blocks(home / "blobs") - before) / recorded
        print(
            f"disk: {each:.0f} bytes of blocks an inference of a table row at 50/s "
            f"(target {TARGETS['blocks']})"
        )
    finally:
        way.end()


def blocks(directory: Path) -> int:
    """Return the bytes of all blocks below a directory, its folders included."""
    found = subprocess.run(
        ["du", "-s", "-B1", directory], capture_output=True, text=True, check=True
    )
    return int(found.stdout.split()[0])


def run(count: int, seconds: float) -> None:
    from tests import embedded  # starts the servers, sets ISTORE_HOME  # noqa: F401

    home = Path(os.environ["ISTORE_HOME"])
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "istore.settings")
    os.environ["ISTORE_UPSTREAM_ALLOW"] = "127.0.0.1"
    token = set_up(home, UPSTREAM_PORT)
    measure_way(home, token, seconds)
    measure_alone(count)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--client", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.client:
        rate, seconds, token, size = json.loads(sys.stdin.readline())
        print(asyncio.run(send_paced(rate, seconds, token, size)))
    else:
        run(given.count, given.seconds)


if __name__ == "__main__":
    main()
