"""Measure how fast the web server stores spans of OTLP, and Phoenix beside it.

``python benchmarks/text.py`` starts its own PostgreSQL and Valkey, durable as in production, and
the web server with two processes. It posts ``--spans`` spans in protobuf, 512 a request as
OpenTelemetry's batch exporter does, over ``--connections`` at once, and the same requests again,
as copies. Each span is a call of a chat model by OpenInference's names: four messages of 400
characters in, one out, tokens, cost, parameters, session. A span counts when its request was
answered, for then it is committed with its input. ``--beside phoenix`` posts the same requests to
Phoenix on the same PostgreSQL, over one connection, until it has all of them.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.figures import note  # noqa: E402
from benchmarks.ingest import servers, set_up  # noqa: E402
from benchmarks.query import PORT, web  # noqa: E402

BATCH = 512
WARM = 64  # spans before the measured ones
TARGET = 15  # times what Phoenix does in the same run
WORDS = ("aurora", "berth", "crane", "harbour", "pilot", "quay", "tide", "tug")
PROTOBUF = "application/x-protobuf"


def text(chance: random.Random, size: int = 400) -> str:
    words: list[str] = []
    while sum(map(len, words)) < size:
        words.append(chance.choice(WORDS))
    return " ".join(words)


def requests_of(count: int, seed: int = 1) -> list[bytes]:
    """Return requests with so many spans, of traces of eight spans each."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
        ExportTraceServiceRequest,
    )

    chance = random.Random(seed)
    bodies = []
    now = time.time_ns() - 3_600 * 10**9
    trace = parent = b""
    for first in range(0, count, BATCH):
        request = ExportTraceServiceRequest()
        resource = request.resource_spans.add()
        named = resource.resource.attributes.add()
        named.key, named.value.string_value = "service.name", "harbour"
        scope = resource.scope_spans.add()
        for number in range(first, min(first + BATCH, count)):
            span = scope.spans.add()
            if number % 8 == 0:
                trace, parent = chance.randbytes(16), b""
            span.trace_id, span.span_id = trace, chance.randbytes(8)
            span.parent_span_id = parent
            parent = parent or span.span_id
            span.name = "chat"
            span.start_time_unix_nano = now + number * 10**6
            span.end_time_unix_nano = span.start_time_unix_nano + 800 * 10**6
            fill(span, chance, number)
        bodies.append(request.SerializeToString())
    return bodies


def fill(span, chance: random.Random, number: int) -> None:
    values: dict[str, str | int | float] = {
        "openinference.span.kind": "LLM",
        "llm.model_name": "gpt-4o",
        "llm.provider": "openai",
        "llm.invocation_parameters": '{"temperature": 0.5}',
        "llm.token_count.prompt": 400 + number % 50,
        "llm.token_count.completion": 100,
        "llm.token_count.total": 500 + number % 50,
        "llm.cost.total": 0.004,
        "session.id": f"session-{number // 32}",
        "user.id": f"user-{number % 500}",
        "llm.output_messages.0.message.role": "assistant",
        "llm.output_messages.0.message.content": text(chance),
    }
    for place, role in enumerate(("system", "user", "assistant", "user")):
        beginning = f"llm.input_messages.{place}.message"
        values |= {f"{beginning}.role": role, f"{beginning}.content": text(chance)}
    for name, value in values.items():
        entry = span.attributes.add()
        entry.key = name
        kind = {str: "string_value", int: "int_value", float: "double_value"}
        setattr(entry.value, kind[type(value)], value)


class Sender:
    """A connection that posts requests, one after the other."""

    def __init__(self, token: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", PORT)
        self.headers = {"Authorization": f"Bearer {token}", "Content-Type": PROTOBUF}

    def post(self, body: bytes) -> None:
        self.connection.request("POST", "/v1/traces", body, self.headers)
        response = self.connection.getresponse()
        content = response.read()
        if response.status != 200 or content:  # a partial success has content
            raise SystemExit(f"{response.status}: {content!r:.300}")


def post_all(token: str, bodies: list[bytes], connections: int) -> float:
    """Post the requests, and return the seconds."""
    senders = [Sender(token) for _ in range(connections)]
    shares = [bodies[n::connections] for n in range(connections)]

    def post_share(sender: Sender, share: list[bytes]) -> None:
        for body in share:
            sender.post(body)

    begun = time.perf_counter()
    with ThreadPoolExecutor(connections) as threads:
        list(threads.map(post_share, senders, shares))
    return time.perf_counter() - begun


def measure_store(given: argparse.Namespace) -> float:
    """Print and note the spans a second of the store; return those of new spans."""
    model = set_up()
    from istore.accounts.tokens import create_token
    from istore.models import Role
    from traces.models import Span

    token = create_token("spans", model.project, Role.EDITOR)[1]
    bodies = requests_of(given.spans)
    print(
        f"{given.spans:,} spans, {sum(map(len, bodies)) / given.spans:,.0f} bytes each, "
        f"{given.connections} connections; load {os.getloadavg()[0]:.1f}"
    )
    with web(2):
        post_all(token, requests_of(WARM, seed=2), 1)  # registers the model
        took = post_all(token, bodies, given.connections)
        again = post_all(token, bodies, given.connections)
    stored = Span.objects.count()
    if stored != given.spans + WARM:
        raise SystemExit(f"{stored} spans are stored.")
    rate = given.spans / took
    print(f"{'Inference Store, new spans':34} {rate:10,.0f} spans/s")
    print(f"{'Inference Store, copies':34} {given.spans / again:10,.0f} spans/s")
    note("spans by OTLP", rate, "spans/s")
    note("spans by OTLP, copies", given.spans / again, "spans/s")
    return rate


def measure_phoenix(given: argparse.Namespace) -> float:
    """Return the spans a second of Phoenix, until it has all of them."""
    from benchmarks.peers import compare, environments
    from benchmarks.peers.spans import Phoenix

    bodies = requests_of(given.beside_spans)
    with (
        tempfile.TemporaryDirectory(prefix="istore-phoenix-") as directory,
        compare.running("phoenix", Path(directory)) as address,
    ):
        phoenix = Phoenix(address)
        begun = time.perf_counter()
        for body in bodies:
            phoenix.send(body)
        while phoenix.count() < given.beside_spans:
            time.sleep(0.2)
        rate = given.beside_spans / (time.perf_counter() - begun)
    name = f"phoenix {environments.version('phoenix')}"
    print(f"{name:34} {rate:10,.0f} spans/s")
    return rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spans", type=int, default=20_480)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--beside", choices=["phoenix"])
    parser.add_argument("--beside-spans", type=int, default=1024)
    parser.add_argument("--directory")
    given = parser.parse_args()
    with servers(given.directory):
        ours = measure_store(given)
        if given.beside:
            theirs = measure_phoenix(given)
            note("spans by OTLP beside Phoenix", ours / theirs, "times", target=TARGET)
            print(f"{'times Phoenix':34} {ours / theirs:10,.1f}  (target {TARGET})")
    print(json.dumps({"load": os.getloadavg()[0]}))


if __name__ == "__main__":
    main()
