"""Measure the processor time of the web process for single calls of the API and pages.

``python benchmarks/api.py`` starts its own PostgreSQL and Valkey with one large model, and a
process that holds the ASGI application as the web server loads it: all middleware, the log
lines, the rate limit. Calls are made in that process, so its processor time is that of the
calls alone, whatever else the machine does. The statements of each page and count are run
again without Django. ``--beside DIR`` asks the application of another checkout in turns, over
the same database, and prints the ratio of both and whether their bodies are equal.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import io
import json
import os
import random
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CALLS, ROUNDS, LINES = 40, 7, 1000
MODEL = "/api/v1/models/large"


@dataclass(frozen=True)
class Call:
    """A request that is made again and again; ``{id}`` in the body is another each time."""

    name: str
    path: str
    body: str = ""
    cookie: bool = False
    calls: int = CALLS
    kind: str = "application/json"
    method: str = field(default="POST")


def new_inference() -> str:
    """Return the body of a create: six metadata and three detections, under a random id."""
    values = [
        ("site", "string", "main"),
        ("operator", "string", "operator-7"),
        ("frame", "int", "12"),
        ("speed", "int", "700"),
        ("gain", "float", "0.5"),
        ("pose", "json", json.dumps({"angle": 0.5, "site": "a"})),
    ]
    corners = {"xmin": 1.5, "ymin": 2.5, "xmax": 30.25, "ymax": 40.75}
    found = [{"label": n, "score": 0.875} | corners for n in ("ship", "boat", "buoy")]
    standard = {
        "data_hash": hashlib.sha256(b"input").hexdigest(),
        "data_size": 20_000,
        "task_type": "Object Detection",
        "inference_action": "detect",
        "data_source": "quay-3",
        "latitude": 51.25,
        "longitude": 4.5,
    }
    extended = [{"key": k, "type": t, "value": v} for k, t, v in values]
    metadata = {"standard_metadata": standard, "extended_metadata": extended}
    data = {"object_detection": found, "metadata": metadata}
    return json.dumps({"inference_id": "{id}", "data": data})


def calls() -> list[Call]:
    site = {"key": "site", "type": "string", "operator": "=", "value": "main"}
    newest = {"direction": "desc", "limit": 50}
    equal = {"filters": {"metadata_filter": [site]}, "pagination": newest}
    few = {"metadata_filter": [{**site, "value": "pier"}]}
    filtering, counting = f"{MODEL}/inferences/filter", f"{MODEL}/inferences/count"
    pages = "/models/large/inferences?view="
    return [
        Call("page of 50", filtering, json.dumps({"pagination": newest})),
        Call("page of 50, = 60 %", filtering, json.dumps(equal)),
        Call("page of 50, GET", f"{MODEL}/inferences?direction=desc", method="GET"),
        Call("count, = 2 %", counting, json.dumps({"filters": few})),
        Call("count, to 1,000", counting, json.dumps({**equal, "limit": 1000})),
        Call("one inference", f"{MODEL}/inferences/first-0", method="GET"),
        Call("create", f"{MODEL}/inferences", new_inference()),
        Call(
            "batch of 1,000",
            f"{MODEL}/inferences/batch",
            "\n".join([new_inference()] * LINES),
            kind="application/x-ndjson",
            calls=2,
        ),
        Call("table", f"{pages}table", cookie=True, method="GET", calls=20),
        Call("gallery", f"{pages}gallery", cookie=True, method="GET", calls=20),
    ]


def answer_calls() -> None:
    """The web process: make each call that a line of stdin describes, and tell its costs."""
    sys.path.insert(0, os.getcwd())
    try:
        from istore.asgi import application
    except ModuleNotFoundError:
        from istore.wsgi import application as wsgi_application

        application = None

    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # where the log lines go

    def call_wsgi(asked: dict[str, Any], body: bytes) -> tuple[int, bytes]:
        path, _, query = asked["path"].partition("?")
        environ = {
            "REQUEST_METHOD": asked["method"],
            "SCRIPT_NAME": "",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "8000",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "CONTENT_TYPE": asked["kind"],
            "HTTP_HOST": "127.0.0.1",
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": sys.stderr,
        }
        environ |= {f"HTTP_{k.upper()}": v for k, v in asked["head"].items()}
        if body:
            environ["CONTENT_LENGTH"] = str(len(body))
        statuses = []

        def start(status: str, headers: Any, exc_info: Any = None) -> None:
            statuses.append(int(status.partition(" ")[0]))

        answer = wsgi_application(environ, start)
        try:
            return statuses[0], b"".join(answer)
        finally:
            answer.close()

    async def call(asked: dict[str, Any], body: bytes) -> tuple[int, bytes]:
        if application is None:
            return await asyncio.to_thread(call_wsgi, asked, body)
        path, _, query = asked["path"].partition("?")
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        headers = {"host": "127.0.0.1", "content-type": asked["kind"], **asked["head"]}
        if body:
            headers["content-length"] = str(len(body))
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": asked["method"],
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(k.encode(), v.encode()) for k, v in headers.items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 8000),
        }
        await application(scope, receive, send)
        return sent[0]["status"], b"".join(each.get("body", b"") for each in sent[1:])

    async def measure(asked: dict[str, Any]) -> dict[str, Any]:
        bodies = [asked["body"].encode()] * asked["calls"]
        if "{id}" in asked["body"]:
            bodies = [_with_ids(body) for body in bodies]
        took = []
        before, begun = time.process_time(), 0.0
        for body in bodies:
            begun = time.perf_counter()
            status, content = await call(asked, body)
            took.append(1000 * (time.perf_counter() - begun))
            if status not in (200, 201):
                raise SystemExit(f"{status} for {asked['path']}: {content[:300]!r}")
        used = 1000 * (time.process_time() - before) / len(bodies)
        return {"cpu": used, "took": took, "answer": content.decode()}

    with asyncio.Runner() as runner:
        for line in sys.stdin:
            print(json.dumps(runner.run(measure(json.loads(line)))), flush=True)


def _with_ids(body: bytes) -> bytes:
    pieces = body.split(b"{id}")
    ids = [str(uuid.UUID(int=random.getrandbits(128))).encode() for _ in pieces]
    return b"".join(part for pair in zip(pieces, ids, strict=True) for part in pair)[
        : -len(ids[-1])
    ]


@contextmanager
def web_of(checkout: Path) -> Iterator[subprocess.Popen[str]]:
    """Run ``answer_calls`` with the code of a checkout, until the block ends."""
    env = {
        **os.environ,
        "ISTORE_DATABASE_STAYS": "true",
        "ISTORE_DATABASE_POOL": "true",  # its name in older checkouts
        "ISTORE_RATE_PER_MINUTE": "1000000",
        "PYTHONPATH": str(checkout),
    }
    process = subprocess.Popen(
        [sys.executable, __file__, "--answer-calls"],
        cwd=checkout,
        env=env,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        assert process.stdin
        process.stdin.close()
        process.wait(30)


def ask(web: subprocess.Popen[str], call: Call, head: dict[str, str]) -> dict[str, Any]:
    assert web.stdin and web.stdout
    print(json.dumps({**vars(call), "head": head}), file=web.stdin, flush=True)
    line = web.stdout.readline()
    if not line:
        raise SystemExit(f"The web process ended at {call.name}.")
    answer: dict[str, Any] = json.loads(line)
    return answer


def run(given: argparse.Namespace) -> None:
    from benchmarks import pages, query_data

    session = pages.set_up()
    from istore.accounts.tokens import create_token
    from istore.models import Project, Role

    token = create_token("calls", Project.objects.get(), Role.EDITOR)[1]
    model = query_data.register("large")
    query_data.fill(model, given.rows)
    query_data.settle()
    compare(given, token, session)


def compare(given: argparse.Namespace, token: str, session: str) -> None:
    from benchmarks import query
    from benchmarks.figures import note
    from inferences.models import RegisteredModel

    model, bare = RegisteredModel.objects.get(model_id="large"), query.Bare()
    beside = Path(given.beside).resolve() if given.beside else ROOT
    print(
        f"{'':22} {'SQL':>6} {'CPU':>7} {'p50':>7} {'p95':>7} {'beside':>7} {'ratio':>6}"
    )
    with web_of(ROOT) as ours, web_of(beside) as theirs:
        for call in [each for each in calls() if given.only in each.name]:
            head = {"authorization": f"Bearer {token}"}
            if call.cookie:
                head = {"cookie": f"sessionid={session}"}
            sql = ""
            if call.body and call.path.endswith(("filter", "count")):
                shape = query.Shape(call.name, dict, address=call.path.split("/")[-1])
                asked = query.statements_of(model, shape, json.loads(call.body))
                bare.run(asked)
                times = [bare.run(asked) for _ in range(CALLS)]
                sql = f"{statistics.median(times):.2f}"
            here, there = ask(ours, call, head), ask(theirs, call, head)  # warm
            same = (
                call.cookie or "{id}" in call.body or here["answer"] == there["answer"]
            )
            cpu, other, took = [], [], []
            for _ in range(ROUNDS):
                answer = ask(ours, call, head)
                cpu.append(answer["cpu"])
                took += answer["took"]
                if given.beside:
                    other.append(ask(theirs, call, head)["cpu"])
            used = statistics.median(cpu)
            p95 = statistics.quantiles(took, n=20, method="inclusive")[-1]
            note(f"{call.name}, processor", used, "ms")
            compared = ""
            if other:
                theirs_used = statistics.median(other)
                compared = f"{theirs_used:7.2f} {used / theirs_used:6.2f}"
            print(
                f"{call.name:22} {sql:>6} {used:7.2f} {statistics.median(took):7.2f} "
                f"{p95:7.2f} {compared}{'' if same else '  other body'}"
            )
    print(f"load {os.getloadavg()[0]:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=50_000, help="of the model")
    parser.add_argument("--beside", help="another checkout, asked in turns")
    parser.add_argument("--only", default="", help="calls whose name holds this")
    parser.add_argument("--directory", help="on whose disk; a temporary one by default")
    parser.add_argument("--answer-calls", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.answer_calls:
        answer_calls()
        return
    sys.path.insert(0, str(ROOT))
    from benchmarks.ingest import servers

    with servers(given.directory):
        run(given)


if __name__ == "__main__":
    main()
