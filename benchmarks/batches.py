"""Measure how many inferences per second NDJSON batches store through the API.

``python benchmarks/batches.py`` starts its own PostgreSQL and Valkey, durable and tuned as in
production, and the web server as ``up`` starts it. Each client posts batches of 1,000 new
inferences one after the other over its own connection. The bare limit is ``COPY`` of the same
rows in the same run.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import os
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.figures import note  # noqa: E402
from benchmarks.ingest import Bare, Traffic, servers, set_up  # noqa: E402
from benchmarks.query import PORT, web  # noqa: E402

LINES, TARGET = 1000, 4000
ADDRESS = "/api/v1/models/detector/inferences/batch"


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
    moment = traffic.start - number * traffic.step
    body = {
        "inference_id": f"inference-{number:012d}",
        "created_at": moment.isoformat(),
        "data": {"object_detection": parts, "metadata": metadata},
    }
    return json.dumps(body).encode()


def post(token: str, batches: list[bytes]) -> list[float]:
    """Return the seconds of each batch; end the program if a line was not stored."""
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/x-ndjson",
    }
    connection, took = http.client.HTTPConnection("127.0.0.1", PORT), []
    for body in batches:
        begun = time.perf_counter()
        connection.request("POST", ADDRESS, body, headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
        took.append(time.perf_counter() - begun)
        if response.status != 200 or any(
            each["status"] != "created" for each in answer["results"]
        ):
            raise SystemExit(f"{response.status}: {str(answer)[:300]}")
    return took


def run(given: argparse.Namespace) -> None:
    model, traffic = set_up(), Traffic(given.rows)
    from istore.accounts.tokens import create_token
    from istore.models import Role

    token = create_token("benchmark", model.project, Role.EDITOR)[1]

    def batches(number: int) -> list[bytes]:
        return [b"\n".join(line(traffic) for _ in range(LINES)) for _ in range(number)]

    with web(given.workers):
        post(token, batches(given.rows // LINES))
        bare = Bare(min(given.rows, 20_000))
        for clients in (1, 2, 4):
            rates, slowest, shares = [], [], []
            for _ in range(given.rounds):
                work = [batches(given.batches) for _ in range(clients)]
                before = bare.rate()
                begun = time.perf_counter()
                with ThreadPoolExecutor(clients) as pool:
                    took = list(pool.map(post, [token] * clients, work))
                stored = clients * given.batches * LINES
                rates.append(stored / (time.perf_counter() - begun))
                slowest.append(max(map(max, took)))
                shares.append(2 * rates[-1] / (before + bare.rate()))
            rate, share = statistics.median(rates), statistics.median(shares)
            name, limit = f"NDJSON batches, {clients} clients", rate / share
            note(name, rate, "inferences/s", limit=limit)
            print(
                f"{clients} clients: {rate:,.0f} inferences/s, "
                f"{share:.3f} of COPY, slowest batch "
                f"{max(slowest):.2f} s {'' if rate >= TARGET else 'missed'}"
            )
    print(f"load {os.getloadavg()[0]:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=20_000, help="stored before")
    parser.add_argument("--batches", type=int, default=5, help="of a client a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2, help="web processes")
    parser.add_argument("--directory", help="on whose disk; a temporary one by default")
    given = parser.parse_args()
    with servers(given.directory):
        run(given)


if __name__ == "__main__":
    main()
