"""Measure how many inferences per second NDJSON batches store through the API.

``python benchmarks/batches.py`` starts its own PostgreSQL and Valkey, durable and tuned as in
production, and the web server as ``up`` starts it. Each client posts batches of 1,000 new
inferences one after the other over its own connection. The bare limit is ``COPY`` of the same
rows in the same run.

There are two kinds of inferences, side by side. *In order*: counted ids of one model, backwards in
time over two days. *Scattered*: each client of each round has a new model, random ids, moments of
the last 30 days in no order, and one of several mixes of labels. ``--beside DIR`` posts the same
to the web server of another checkout in turns, over the same database.

The rate depends on what else the machine does. The processor time of web server and database for
each inference does so least, and is told beside it.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.figures import note  # noqa: E402
from benchmarks.ingest import (  # noqa: E402
    MIXES,
    Bare,
    ScatteredTraffic,
    Traffic,
    new_model,
    servers,
    set_up,
)
from benchmarks.proxy import family, seconds_of  # noqa: E402

LINES, TARGET, TARGET_BESIDE, TARGET_OF_TWO = 1000, 4000, 2.0, 1.7
OURS, BESIDE = "", "beside"
# Run in a checkout, with its own way to start the web server.
SERVE = """
import sys
from benchmarks import query
query.PORT = int(sys.argv[1])
with query.web(int(sys.argv[2])):
    print("ready", flush=True)
    sys.stdin.read()
"""


def line(traffic: Traffic) -> bytes:
    number = next(traffic.numbers)
    corners = ("xmin", "ymin", "xmax", "ymax")
    found = json.loads(traffic.answer()["outputs"][0]["data"][0])
    parts = [
        {"label": each["label"], "score": each["score"]}
        | dict(zip(corners, sorted(each["bbox"]), strict=True))
        for each in found
    ]
    standard = {
        "data_hash": hashlib.sha256(str(number).encode()).hexdigest(),
        "data_size": 20_000,
        "task_type": "Object Detection",
        "inference_action": "detect",
        "data_source": f"quay-{traffic.random.randrange(9)}",
        "latitude": 51 + traffic.random.random(),
        "longitude": 4 + traffic.random.random(),
    }
    metadata = {
        "standard_metadata": standard,
        "extended_metadata": traffic.metadata(number),
    }
    body = {
        "inference_id": traffic.inference_id(number),
        "created_at": traffic.moment(number).isoformat(),
        "data": {"object_detection": parts, "metadata": metadata},
    }
    return json.dumps(body).encode()


@dataclass
class Work:
    """The batches of one client in one round."""

    model_id: str
    batches: list[bytes]

    @classmethod
    def of(cls, model_id: str, traffic: Traffic, batches: int) -> Work:
        made = [b"\n".join(line(traffic) for _ in range(LINES)) for _ in range(batches)]
        return cls(model_id, made)


def post(token: str, port: int, work: Work) -> float:
    """Return the seconds of the slowest batch; end the program if a line was not stored."""
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/x-ndjson",
    }
    connection, slowest = http.client.HTTPConnection("127.0.0.1", port), 0.0
    address = f"/api/v1/models/{work.model_id}/inferences/batch"
    for body in work.batches:
        begun = time.perf_counter()
        connection.request("POST", address, body, headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
        slowest = max(slowest, time.perf_counter() - begun)
        if response.status != 200 or any(
            each["status"] != "created" for each in answer["results"]
        ):
            raise SystemExit(f"{response.status}: {str(answer)[:300]}")
    return slowest


@contextmanager
def web_of(checkout: Path, port: int, workers: int) -> Iterator[int]:
    """Run the web server of a checkout, until the block ends; yields its process id."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(port), str(workers)],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin and process.stdout
    try:
        if process.stdout.readline() != "ready\n":
            raise SystemExit(f"The web server of {checkout} does not start.")
        yield process.pid
    finally:
        process.stdin.close()
        process.wait(60)


@dataclass
class Rates:
    """What the rounds of one kind and number of clients came to, by checkout."""

    rates: dict[str, list[float]]
    spent_us: dict[str, list[tuple[float, float]]]  # by web server and database
    shares: list[float] = field(default_factory=list)
    slowest: float = 0.0

    def median(self, checkout: str = OURS) -> float:
        return statistics.median(self.rates[checkout])

    def spent(self, checkout: str = OURS) -> str:
        web, database = (
            statistics.median(each)
            for each in zip(*self.spent_us[checkout], strict=True)
        )
        return f"{web:.0f} + {database:.0f} us"


class Bench:
    """The web servers of one run, by checkout, and what they store."""

    def __init__(
        self,
        given: argparse.Namespace,
        token: str,
        ports: dict[str, int],
        webs: dict[str, int],
    ) -> None:
        self.given, self.token, self.ports, self.webs = given, token, ports, webs
        self.bare = Bare(min(given.rows, 20_000))
        self.postmaster = postmaster()
        self.in_order = Traffic(given.rows)
        self.in_order.numbers = count(given.rows + 1)
        self.names = count()

    def work(self, is_scattered: bool, number: int) -> Work:
        if not is_scattered:
            return Work.of("detector", self.in_order, self.given.batches)
        name = new_model(f"scattered-{next(self.names)}").model_id
        traffic = ScatteredTraffic(list(MIXES)[number % len(MIXES)])
        return Work.of(name, traffic, self.given.batches)

    def measure(self, is_scattered: bool, clients: int) -> Rates:
        found = Rates(*({checkout: [] for checkout in self.ports} for _ in range(2)))
        for number in range(self.given.rounds):
            for checkout, port in self.ports.items():
                work = [
                    self.work(is_scattered, number + client)
                    for client in range(clients)
                ]
                before = self.bare.rate()
                spent, begun = self.spent(checkout), time.perf_counter()
                with ThreadPoolExecutor(clients) as pool:
                    posted = [
                        pool.submit(post, self.token, port, each) for each in work
                    ]
                    slowest = max(each.result() for each in posted)
                stored = clients * self.given.batches * LINES
                rate = stored / (time.perf_counter() - begun)
                found.rates[checkout].append(rate)
                web, database = (
                    1e6 * (after - before) / stored
                    for before, after in zip(spent, self.spent(checkout), strict=True)
                )
                found.spent_us[checkout].append((web, database))
                if checkout == OURS:
                    found.slowest = max(found.slowest, slowest)
                    found.shares.append(2 * rate / (before + self.bare.rate()))
        return found

    def spent(self, checkout: str) -> tuple[float, float]:
        """Return the processor seconds of the web server and of the database so far."""
        pids = self.webs[checkout], self.postmaster
        web, database = (sum(map(seconds_of, family(pid))) for pid in pids)
        return web, database


def free_port() -> int:
    """Return a port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def postmaster() -> int:
    """Return the process id of the database server."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        backend = cursor.fetchone()[0]
    return int(Path(f"/proc/{backend}/stat").read_text().rpartition(")")[2].split()[1])


def run(given: argparse.Namespace) -> None:
    set_up()
    from istore.accounts.tokens import create_token
    from istore.models import Project, Role

    project = Project.objects.get(project_id="benchmark")
    token = create_token("benchmark", project, Role.EDITOR)[1]
    checkouts = {OURS: ROOT}
    if given.beside:
        checkouts[BESIDE] = Path(given.beside).resolve()
    ports = {checkout: free_port() for checkout in checkouts}
    with ExitStack() as stack:
        webs = {
            name: stack.enter_context(web_of(path, ports[name], given.workers))
            for name, path in checkouts.items()
        }
        first = Work.of("detector", Traffic(given.rows), given.rows // LINES)
        post(token, ports[OURS], first)
        bench = Bench(given, token, ports, webs)
        for is_scattered in (False, True):
            kind = "scattered" if is_scattered else "in order"
            found = {n: bench.measure(is_scattered, n) for n in (1, 2, 4)}
            for clients, rates in found.items():
                report(f"{kind}, {clients} clients", rates)
            two = found[2].median() / found[1].median()
            print(f"{kind}: two clients have {two:.2f} of one (target {TARGET_OF_TWO})")
            note(f"NDJSON batches, {kind}, two of one", two, "x", target=TARGET_OF_TWO)
    print(f"load {os.getloadavg()[0]:.1f}")


def report(name: str, found: Rates) -> None:
    rate, share = found.median(), statistics.median(found.shares)
    note(f"NDJSON batches, {name}", rate, "inferences/s", limit=rate / share)
    compared, spent = "", found.spent()
    if BESIDE in found.rates:
        other = found.median(BESIDE)
        compared = f", {rate / other:.2f} of {other:,.0f} beside"
        spent += f" (beside: {found.spent(BESIDE)})"
        target = TARGET_BESIDE if name.startswith("scattered") else None
        note(f"NDJSON batches, {name}, beside", rate / other, "x", target=target)
    print(
        f"{name}: {rate:,.0f} inferences/s, {share:.3f} of COPY, slowest batch "
        f"{found.slowest:.2f} s {'' if rate >= TARGET else 'missed'}{compared}; {spent}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=20_000, help="stored before")
    parser.add_argument("--batches", type=int, default=5, help="of a client a round")
    parser.add_argument("--rounds", type=int, default=len(MIXES))
    parser.add_argument("--workers", type=int, default=2, help="web processes")
    parser.add_argument("--beside", help="another checkout, asked in turns")
    parser.add_argument("--directory", help="on whose disk; a temporary one by default")
    given = parser.parse_args()
    with servers(given.directory):
        run(given)


if __name__ == "__main__":
    main()
