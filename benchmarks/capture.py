"""Measure capture alone, and the whole way from the proxy to visible rows.

``python benchmarks/capture.py`` starts its own PostgreSQL and Valkey, durable as in production.
Its parts, of which ``--only`` names some:

- *capture alone*: a spool of calls with bodies of 10 KB, captured to committed packs and
  published events by one process. The limit is the same bytes written to one file that is
  synced once, in the same run.
- *way*: upstream, proxy, capture and listener run, and calls come at a fixed rate. A rate is
  steady when the calls without a row are no more at the end of the round than after its first
  third, but for one second of calls. Rates rise until one is not steady; the highest is then
  searched between the two, and has to be steady for ``--seconds``. From the processor time of
  each process follows which rate the processors allow.
- *disk*: calls of a table row at 50 a second, and the blocks that their blobs take.
- *bucket*: the same way on an object store at 100 a second: its requests for each inference, and
  those of ``verify`` afterwards. It is SeaweedFS where that is installed, else moto.
- *erase*: one member of a pack of 8 MiB on disk is released.

All processes share the processors of this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.ingest import servers  # noqa: E402
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
TARGETS = {
    "alone": 5000,
    "share": 0.5,
    "whole": 1000,
    "allowed": 0.9,
    "listener": 250,
    "blocks": 4096,
    "puts": 0.02,
    "verify": 1 / 500,
    "erase": 50,
}
LOWEST_RATE, SEARCH_SECONDS, NARROWED = 200.0, 15.0, 1.05
# What capture alone publishes would be rows of the whole way, so it comes after it.
# The bucket comes first: its verify meets no record whose blobs are on the disk.
PARTS = ("bucket", "way", "disk", "alone", "erase")


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

    model = RegisteredModel.objects.get(model_id="instant")
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


class Round(NamedTuple):
    """What came of calls at one rate; ``costs`` is microseconds a call by kind of process."""

    is_steady: bool
    recorded: int
    costs: dict[str, float]


class Way:
    """Upstream, proxy and listener, and what is waiting between proxy and rows."""

    def __init__(self, home: Path, token: str) -> None:
        self.home, self.token = home, token
        self.total = self.rows()
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
        database = (self.home / "postgres" / "postmaster.pid").read_text().split()[0]
        return {
            "proxy": sum(map(seconds_of, proxy - capture)),
            "capture": sum(map(seconds_of, capture)),
            "listener": sum(map(seconds_of, listener)),
            "database": sum(map(seconds_of, family(int(database)))),
            "upstream": sum(map(seconds_of, family(self.servers["upstream"].pid))),
        }

    def rows(self) -> int:
        from inferences.models import InferenceKey

        return InferenceKey.objects.filter(row_id__isnull=False).count()

    def round(self, rate: float, seconds: float, size: int = BODY_BYTES) -> Round:
        """Send calls at a rate, and wait until all that were recorded are rows."""
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
        recorded, of_client = json.loads(client.stdout.read())
        early = waiting[len(waiting) // 3]
        steady = waiting[-1] <= early + rate and took < seconds * 1.1 + 3
        begun = time.perf_counter()
        self.total += recorded
        while self.rows() < self.total:
            time.sleep(0.2)
        later = time.perf_counter() - begun
        used = {
            name: (value - spent[name]) / max(recorded, 1) * 1e6
            for name, value in self.spent().items()
        }
        used["client"] = of_client / max(recorded, 1) * 1e6
        costs = ", ".join(f"{name} {value:.0f}" for name, value in used.items())
        print(
            f"  {rate:5.0f}/s for {seconds:.0f} s: {recorded} recorded, "
            f"{early:.0f} waiting early and {waiting[-1]:.0f} at the end: "
            f"{'steady' if steady else 'NOT steady'}, all rows {later:.1f} s later; "
            f"µs a call: {costs}",
            flush=True,
        )
        return Round(steady, recorded, used)


@contextmanager
def way_of(home: Path, token: str) -> Iterator[Way]:
    """Run a way, with everything warm."""
    way = Way(home, token)
    try:
        way.round(100, 5)
        yield way
    finally:
        way.end()


def measure_way(home: Path, token: str, seconds: float) -> None:
    short = min(seconds, SEARCH_SECONDS)
    print("the whole way, proxy to visible rows:")
    with way_of(home, token) as way:
        low, high = 0.0, LOWEST_RATE
        while way.round(high, short).is_steady:
            low, high = high, high * 1.5
        while low and high / low > NARROWED:
            middle = (low + high) / 2
            low, high = (
                (middle, high) if way.round(middle, short).is_steady else (low, middle)
            )
        low = low or LOWEST_RATE
        while not (found := way.round(low, seconds)).is_steady and low > 20:
            low *= 0.95
    ours = sum(
        found.costs[each] for each in ("proxy", "capture", "listener", "database")
    )
    cores = len(os.sched_getaffinity(0))
    allowed, whole = cores * 1e6 / ours, cores * 1e6 / sum(found.costs.values())
    print(
        f"  highest steady rate: {low:.0f}/s (target {TARGETS['whole']}), {low / allowed:.2f} "
        f"of the {allowed:.0f}/s that proxy, capture, listener and database allow on {cores} "
        f"processors (target {TARGETS['allowed']}); {low / whole:.2f} of {whole:.0f}/s with "
        "client and upstream"
    )
    print(
        f"  listener: {found.costs['listener']:.0f} µs of processor time an event "
        f"(target {TARGETS['listener']})"
    )


def measure_disk(home: Path, token: str, seconds: float) -> None:
    with way_of(home, token) as way:
        before = blocks(home / "blobs")
        found = way.round(50, min(30, seconds), 2400)
    each = (blocks(home / "blobs") - before) / found.recorded
    print(
        f"disk: {each:.0f} bytes of blocks an inference of a table row at 50/s "
        f"(target {TARGETS['blocks']})"
    )


# -- on an object store


def measure_bucket(home: Path, token: str, seconds: float) -> None:
    from istore.blobs import request_counts

    with object_store() as (name, variables):
        os.environ |= variables  # of the processes that are started
        try:
            with way_of(home, token) as way:
                time.sleep(2 * request_counts.TELL_SECONDS)
                before = request_counts.totals()
                recorded = way.round(100, seconds).recorded
            between = request_counts.totals()
            verify = [sys.executable, "manage.py", "verify"]
            subprocess.run(verify, cwd=ROOT, check=False, stdout=subprocess.DEVNULL)
            after = request_counts.totals()
        finally:
            for each in variables:
                del os.environ[each]
    way_there = difference(before, between)
    puts = way_there.get("PutObject", 0) / recorded
    print(
        f"bucket ({name}): {puts:.4f} PUTs an inference at 100/s (target {TARGETS['puts']}); "
        f"all requests: {way_there}"
    )
    asked = difference(between, after)
    print(
        f"  verify: {sum(asked.values()) / way.total:.5f} requests an inference of {way.total} "
        f"(target {TARGETS['verify']}): {asked}"
    )


@contextmanager
def object_store() -> Iterator[tuple[str, dict[str, str]]]:
    """Run an object store; yield its name, and the settings of a store that is on it."""
    from istore.tests import s3_relay
    from tests import s3_server

    with ExitStack() as stack:
        if s3_server.weed():
            name, endpoint = "SeaweedFS", stack.enter_context(s3_server.running())
            bucket = s3_server.BUCKET
        else:
            logging.getLogger("werkzeug").setLevel(logging.WARNING)
            server = s3_relay.start_moto()
            stack.callback(server.stop)
            host, port = server.get_host_and_port()
            name, endpoint = "moto", f"http://{host}:{port}"
            bucket = s3_relay.BUCKET
            s3_relay.client(endpoint).create_bucket(Bucket=bucket)
        yield (
            name,
            {
                "ISTORE_S3_BUCKET": bucket,
                "ISTORE_S3_ENDPOINT": endpoint,
                "ISTORE_S3_REGION": s3_server.REGION,
                "ISTORE_S3_ACCESS_KEY": s3_server.ACCESS_KEY,
                "ISTORE_S3_SECRET_KEY": s3_server.SECRET_KEY,
            },
        )


def difference(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    found = {name: count - before.get(name, 0) for name, count in after.items()}
    return {name: count for name, count in found.items() if count}


# -- one member


def measure_erase() -> None:
    from istore import blobs
    from istore.blobs import packs
    from istore.uuids import uuid7

    content = os.urandom(8 * 2**10)
    key = packs.new_key("1/1/2026/01/01/00", packs.INPUTS)
    names = [UUID(uuid7()).bytes for _ in range(1000)]
    pack = packs.build_inputs(key, ((name, content) for name in names))
    blobs.put(key, pack.body)
    times = []
    for member in pack.members[10:900:20]:
        begun = time.perf_counter()
        blobs.delete([member.content_key(key)])
        times.append((time.perf_counter() - begun) * 1e3)
    blobs.delete([key])
    print(
        f"erase: one member of a pack of {len(pack.body) / 2**20:.1f} MiB in "
        f"{statistics.median(times):.1f} ms, {max(times):.1f} at most "
        f"(target {TARGETS['erase']})"
    )


def blocks(directory: Path) -> int:
    """Return the bytes of all blocks below a directory, its folders included."""
    found = subprocess.run(
        ["du", "-s", "-B1", directory], capture_output=True, text=True, check=True
    )
    return int(found.stdout.split()[0])


def run(given: argparse.Namespace) -> None:
    with servers(given.directory) as home:
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "istore.settings")
        os.environ["ISTORE_UPSTREAM_ALLOW"] = "127.0.0.1"
        token = set_up(home, UPSTREAM_PORT)
        measures = {
            "alone": lambda: measure_alone(given.count),
            "way": lambda: measure_way(home, token, given.seconds),
            "disk": lambda: measure_disk(home, token, given.seconds),
            "bucket": lambda: measure_bucket(home, token, given.seconds),
            "erase": measure_erase,
        }
        for part in PARTS:
            if not given.only or part in given.only:
                measures[part]()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--only", nargs="*", choices=PARTS, help="all by default")
    parser.add_argument("--directory", help="on whose disk; a temporary one by default")
    parser.add_argument("--client", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.client:
        rate, seconds, token, size = json.loads(sys.stdin.readline())
        recorded = asyncio.run(send_paced(rate, seconds, token, size))
        print(json.dumps([recorded, time.process_time()]))
    else:
        run(given)


if __name__ == "__main__":
    main()
