"""The client of a peer that keeps spans: runs with the peer's own Python.

``python spans.py PEER ADDRESS ROWS`` reads one inference a line from the file ROWS, sends them
as OTLP spans in batches of 1,000, waits until all are found, asks for pages and counts, and
reads all of them out into a Parquet table. After each step it prints the figures so far as one
line of JSON, so that who has no more time has those.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
import urllib.request
from datetime import datetime
from pathlib import Path

BATCH, PAGE, ROUNDS = 1000, 50, 20
LONGEST_PAUSE = 10  # seconds between two counts of what was sent


def span_of(row: dict, span):
    """Fill an OTLP span with an inference: metadata as attributes, the answer as output."""
    moment = int(datetime.fromisoformat(row["created_at"]).timestamp() * 1e9)
    span.trace_id, span.span_id = os.urandom(16), os.urandom(8)
    span.name = "detect"
    span.start_time_unix_nano, span.end_time_unix_nano = moment, moment + 20_000_000
    kept = row["data"]["metadata"]
    values = {each["key"]: each["value"] for each in kept["extended_metadata"]}
    values["source"] = kept["standard_metadata"]["data_source"]
    texts = {
        "openinference.span.kind": "CHAIN",
        "inference_id": row["inference_id"],
        "metadata": json.dumps(values),
        "output.value": json.dumps(row["data"]["object_detection"]),
        "output.mime_type": "application/json",
        **values,
    }
    for key, value in texts.items():
        attribute = span.attributes.add()
        attribute.key, attribute.value.string_value = key, value


def request_of(rows: list[dict]) -> bytes:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
        ExportTraceServiceRequest,
    )

    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    for row in rows:
        span_of(row, scope.spans.add())
    return request.SerializeToString()


def call(url: str, body: bytes | None = None, **headers: str):
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, body, names)
    with urllib.request.urlopen(request, timeout=600) as answer:
        return answer.read()


def in_milliseconds(ask) -> float:
    times = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        ask()
        times.append(time.perf_counter() - begun)
    return statistics.median(times) * 1000


class Phoenix:
    """Arize Phoenix: REST for pages, GraphQL for counts, its own client for tables."""

    def __init__(self, address: str) -> None:
        self.address = address

    def send(self, body: bytes) -> None:
        url = f"{self.address}/v1/traces"
        call(url, body, Content_Type="application/x-protobuf")

    def count(self, condition: str = "") -> int:
        query = (
            "query($c: String) { projects { edges { node { recordCount("
            "filterCondition: $c) } } } }"
        )
        body = {"query": query, "variables": {"c": condition or None}}
        url = f"{self.address}/graphql"
        answer = json.loads(
            call(url, json.dumps(body).encode(), Content_Type="application/json")
        )
        (edge,) = answer["data"]["projects"]["edges"]
        return edge["node"]["recordCount"]

    def count_some(self) -> int:
        return self.count("metadata['camera'] == 'camera-7'")

    def page(self) -> int:
        url = f"{self.address}/v1/projects/default/spans?limit={PAGE}"
        return len(json.loads(call(url))["data"])

    def export(self, path: Path, rows: int) -> int:
        from phoenix.client import Client

        table = Client(base_url=self.address).spans.get_spans_dataframe(
            project_identifier="default", limit=rows, timeout=1800
        )
        table.astype(str).to_parquet(path)
        return len(table)


class Mlflow:
    """MLflow tracking: OTLP in, its REST search for pages; it has no count but by reading."""

    def __init__(self, address: str) -> None:
        import mlflow

        mlflow.set_tracking_uri(address)
        self.address, self.client = address, mlflow.MlflowClient()

    def send(self, body: bytes) -> None:
        call(
            f"{self.address}/v1/traces",
            body,
            Content_Type="application/x-protobuf",
            x_mlflow_experiment_id="0",
        )

    def search(self, most: int, condition: str | None = None, token: str | None = None):
        return self.client.search_traces(
            locations=["0"],
            filter_string=condition,
            max_results=most,
            page_token=token,
            include_spans=False,
        )

    def count(self, condition: str | None = None) -> int:
        found, token = 0, None
        while True:
            page = self.search(500, condition, token)
            found, token = found + len(page), page.token
            if not token:
                return found

    count_some = None

    def page(self) -> int:
        return len(self.search(PAGE))

    export = None


PEERS = {"phoenix": Phoenix, "mlflow": Mlflow}


def main(name: str, address: str, path: str) -> None:
    rows = [json.loads(line) for line in Path(path).read_text().splitlines()]
    peer = PEERS[name](address)
    bodies = [request_of(rows[at : at + BATCH]) for at in range(0, len(rows), BATCH)]
    peer.send(request_of(rows[:1]))  # warms up, and makes the project
    while peer.count() < 1:
        time.sleep(0.2)
    begun = time.perf_counter()
    for body in bodies:
        peer.send(body)
    pause = 0.2
    while peer.count() < len(rows) + 1:
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
    found = {"in": len(rows) / (time.perf_counter() - begun)}
    show(found)
    if peer.page() != PAGE:
        raise SystemExit(f"A page had not {PAGE}.")
    found["page"] = in_milliseconds(peer.page)
    show(found)
    if peer.count_some:
        found["counted"] = peer.count_some()
        found["count"] = in_milliseconds(peer.count_some)
        show(found)
    if peer.export:
        begun = time.perf_counter()
        read = peer.export(Path(path).with_suffix(".parquet"), len(rows))
        found["export"] = read / (time.perf_counter() - begun)
        show(found)


def show(found: dict[str, float]) -> None:
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
