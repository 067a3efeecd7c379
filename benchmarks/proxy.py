"""Measure the cost of the proxy: the same calls directly to a model server and through it.

``python benchmarks/proxy.py`` starts its own PostgreSQL and Valkey, an upstream that answers
at once, and a proxy that stores all it forwards, with a synced spool and capture running. One
client process with 16 connections sends 10 KB bodies, in alternating rounds: direct, through
nginx as a bare reverse proxy if it is installed, and proxied. It reports the added latency and the
share of throughput that is left, as medians over the rounds. There are two clients:
aiohttp, as programs use it, and a bare one, whose own cost is negligible, so that it shows
the cost of the servers.

Before each direct round capture gets the time to work off its backlog, so that direct rounds
run without it. The last line says how long that took. ``benchmarks/capture.py`` measures the
rate that the whole way sustains. ``--processes 2`` adds rounds through as many proxy processes on
one port, as ``ISTORE_PROXY_WORKERS`` starts them.

Each connection sends its next call at once, so the median latency is the number of
connections divided by the throughput. Further rounds use one connection, and show the latency
of a call without queueing; the last ones ask for streams, and count chunks instead of calls.

Client, upstream, proxy and capture share the processors of this machine. With two
processors the share depends on that as much as on the proxy. So each round also reports the
processor time of each process per call, which depends least on other load.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.figures import note  # noqa: E402
from istore.sockets import listen  # noqa: E402

GRANIAN = [
    Path(sys.executable).with_name("granian"),
    "--interface",
    "asginl",
    "--no-ws",
]
UPSTREAM = [*GRANIAN, "benchmarks.proxy:upstream"]
PROXY = [sys.executable, "-m", "proxy.serve"]
CONNECTIONS, BODY_BYTES = 16, 10_000
ANSWER = b'{"model_name":"instant","outputs":[{"name":"score","datatype":"FP32","shape":[1],"data":[0.5]}]}'
CHUNKS, CHUNK, CHUNK_SECONDS = 300, b"data: {}\n\n", 0.002
SEVERAL = "several"  # the route through several proxy processes
ROUTES = ("direct", "nginx", "proxied", SEVERAL)
TARGET_MS, TARGET_OF_NGINX, TARGET_CHUNK_US = 1.0, 0.5, 100
NGINX = """
daemon off; worker_processes 2; pid {home}/nginx.pid; error_log {home}/nginx.log;
events {{ worker_connections 1024; }}
http {{
    access_log off; client_body_buffer_size 64k; client_body_temp_path {home}/nginx;
    proxy_temp_path {home}/nginx-proxy; fastcgi_temp_path {home}/nginx-fastcgi;
    uwsgi_temp_path {home}/nginx-uwsgi; scgi_temp_path {home}/nginx-scgi;
    upstream model {{ server 127.0.0.1:{upstream}; keepalive 64; }}
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location / {{
            proxy_pass http://model; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_buffering {buffering};
        }}
    }}
}}
"""


async def upstream(scope, receive, send) -> None:
    """A model that answers at once; it runs under granian with ``asginl``."""
    while (await receive()).get("more_body"):
        pass
    if "streamed" in scope["path"]:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for _ in range(CHUNKS):
            await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
            await asyncio.sleep(CHUNK_SECONDS)
        await send({"type": "http.response.body", "body": b""})
        return
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": ANSWER})


class Client(asyncio.Protocol):
    """One connection that sends its next call after each answer, until a given time."""

    def __init__(self, request: bytes, latencies: list[float], until: float) -> None:
        self.request, self.latencies, self.until = request, latencies, until
        self.ended = asyncio.get_running_loop().create_future()
        self.recorded = 0
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        self.asked_at = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        head = head.lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        now = time.perf_counter()
        assert head.startswith(b"http/1.1 200"), self.buffer
        self.latencies.append(now - self.asked_at)
        self.recorded += b"inference-store: recorded" in head
        self.buffer = b""
        if now < self.until:
            self.ask()
        else:
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(self.recorded)


async def send_bare(
    head: str, body: bytes, port: int, seconds: float, connections: int
) -> tuple[list[float], int]:
    latencies: list[float] = []
    loop = asyncio.get_running_loop()
    until = time.perf_counter() + seconds
    request = head.encode() + body
    clients = [
        await loop.create_connection(
            lambda: Client(request, latencies, until), "127.0.0.1", port
        )
        for _ in range(connections)
    ]
    kept = await asyncio.gather(*(client.ended for _, client in clients))
    return latencies, sum(kept)


async def send_streams(
    head: str, body: bytes, port: int, seconds: float, connections: int
) -> tuple[list[float], int]:
    """Ask for streams; a latency is that of a chunk, and all that is counted are chunks."""
    latencies: list[float] = []
    until = time.perf_counter() + seconds

    async def read_on() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < until:
            writer.write(head.encode() + body)
            await reader.readuntil(b"\r\n\r\n")
            before, size = time.perf_counter(), 1
            while size:
                size = int(await reader.readline(), 16)
                await reader.readexactly(size + 2)
                now = time.perf_counter()
                latencies.extend([now - before] * (size // len(CHUNK)))
                before = now
        writer.close()

    await asyncio.gather(*(read_on() for _ in range(connections)))
    return latencies, 0


async def send_aiohttp(
    url: str, body: bytes, token: str, seconds: float, connections: int
) -> tuple[list[float], int]:
    import aiohttp

    latencies: list[float] = []
    until = time.perf_counter() + seconds
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    async def ask_on(session: aiohttp.ClientSession) -> int:
        kept = 0
        while (asked_at := time.perf_counter()) < until:
            async with session.post(url, data=body, headers=headers) as answer:
                await answer.read()
                assert answer.status == 200
                kept += answer.headers.get("Inference-Store") == "recorded"
            latencies.append(time.perf_counter() - asked_at)
        return kept

    connector = aiohttp.TCPConnector(limit=connections)
    async with aiohttp.ClientSession(connector=connector) as session:
        kept = await asyncio.gather(*(ask_on(session) for _ in range(connections)))
    return latencies, sum(kept)


async def send_round(
    kind: str, port: int, path: str, token: str, seconds: float, connections: int
) -> dict:
    spent_before = time_spent()
    text = "x" * (BODY_BYTES - 95)
    entry = {"name": "text", "datatype": "BYTES", "shape": [1], "data": [text]}
    body = json.dumps({"inputs": [entry]}).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    begun = time.perf_counter()
    if kind == "bare":
        latencies, kept = await send_bare(head, body, port, seconds, connections)
    elif kind == "streams":
        latencies, kept = await send_streams(head, body, port, seconds, connections)
    else:
        url = f"http://127.0.0.1:{port}{path}"
        latencies, kept = await send_aiohttp(url, body, token, seconds, connections)
    took = time.perf_counter() - begun
    return {
        "count": len(latencies),
        "client_us": (time_spent() - spent_before) / len(latencies) * 1e6,
        "per_second": len(latencies) / took,
        "median_ms": statistics.median(latencies) * 1000,
        "p95_ms": statistics.quantiles(latencies, n=20)[-1] * 1000,
        "recorded": kept / len(latencies),
    }


def time_spent() -> float:
    """Return the processor seconds that this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def answer_rounds() -> None:
    """Run the client process: one round for each line on standard input."""
    for line in sys.stdin:
        print(json.dumps(asyncio.run(send_round(*json.loads(line)))), flush=True)


class ClientProcess:
    """The client process, which calls both directly and through the proxy."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--client"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, *given: object) -> dict:
        print(json.dumps(given), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit("The client process ended.")
        return json.loads(answer)

    def end(self) -> None:
        self.process.stdin.close()
        self.process.wait(10)


@dataclass
class Bench:
    """The processes of one run, and their ports."""

    home: Path
    token: str
    ports: dict[str, int]  # of the routes
    client: ClientProcess
    servers: dict[str, list[subprocess.Popen]]  # of the routes
    drained_for: float = 0.0

    def round(
        self,
        kind: str,
        route: str,
        seconds: float,
        connections: int = CONNECTIONS,
    ) -> dict:
        if route == "direct":
            self.drain()
        before = self.spent()
        model = "streamed" if kind == "streams" else "instant"
        path = f"/v2/models/{model}/infer"
        port = self.ports[route]
        found = self.client.ask(kind, port, path, self.token, seconds, connections)
        found |= {
            f"{name}_us": (spent - before[name]) / found["count"] * 1e6
            for name, spent in self.spent().items()
        }
        return found

    def drain(self) -> None:
        """Wait until capture has worked off the backlog of the proxied round."""
        begun, spool = time.perf_counter(), self.home / "spool"
        while any(spool.glob("*.open")) or any(spool.glob("*.closed")):
            time.sleep(0.1)
        self.drained_for += time.perf_counter() - begun

    def spent(self) -> dict[str, float]:
        """Return processor seconds by kind of process."""
        found: dict[str, set[int]] = {"proxy": set(), "capture": set()}
        for route, servers in self.servers.items():
            pids = {pid for server in servers for pid in family(server.pid)}
            if route not in ("proxied", SEVERAL):
                found[route] = pids
                continue
            capture = {pid for pid in pids if "proxy.capture.worker" in command_of(pid)}
            found["proxy"] |= pids - capture
            found["capture"] |= capture
        return {who: sum(map(seconds_of, pids)) for who, pids in found.items()}


def family(pid: int) -> list[int]:
    """Return the ids of a process and of its descendants."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{parent}/task"):
                children = Path(f"/proc/{parent}/task/{task}/children").read_text()
                found += map(int, children.split())
    return found


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def seconds_of(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    user, system = text.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def set_up(home: Path, upstream_port: int) -> str:
    """Create the tables, one model and one token; return the secret of the token."""
    import django
    from django.core.management import call_command

    django.setup()
    from inferences.models import RegisteredModel, TaskType
    from istore.accounts.tokens import create_token
    from istore.models import Project, Role

    call_command("migrate", verbosity=0)
    project = Project.objects.create(project_id="benchmark")
    for name in ("instant", "streamed"):
        RegisteredModel.objects.create(
            model_id=name,
            project=project,
            task_type=TaskType.TABULAR_REGRESSION,
            upstream_url=f"http://127.0.0.1:{upstream_port}",
            enable_inference_storage=True,
        )
    return create_token("benchmark", project, Role.EDITOR)[1]


def start(argv: Sequence[str | Path], port: int, log: Path) -> subprocess.Popen:
    with open(log, "ab") as file:
        return subprocess.Popen(
            [*argv, "--port", str(port)], cwd=ROOT, stdout=file, stderr=file
        )


def start_several(count: int, port: int, log: Path) -> list[subprocess.Popen]:
    """Start proxy processes that share a port, as the supervisor does."""
    found = []
    for number in range(count):
        with (
            listen("127.0.0.1", port, is_shared=True) as listening,
            open(log, "ab") as to,
        ):
            descriptor = listening.fileno()
            argv = [*PROXY, f"--socket={descriptor}", f"--number={number}"]
            found.append(
                subprocess.Popen(
                    argv, cwd=ROOT, stdout=to, stderr=to, pass_fds=[descriptor]
                )
            )
    return found


def start_nginx(port: int, upstream_port: int, home: Path) -> subprocess.Popen | None:
    """Start nginx as a bare reverse proxy; None if it is not installed."""
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if nginx is None:
        return None
    file = home / "nginx.conf"
    given = {"home": home, "port": port, "upstream": upstream_port, "buffering": "off"}
    file.write_text(NGINX.format(**given))
    return subprocess.Popen([nginx, "-p", home, "-c", file])


def wait_for(
    port: int, seconds: int = 30, process: subprocess.Popen | None = None
) -> None:
    """Wait until something listens; end the program if nothing does, or the process ends."""
    import socket

    for _ in range(20 * seconds):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process and process.poll() is not None:
            break
        time.sleep(0.05)
    raise SystemExit(f"Nothing listens on {port}.")


def run(rounds: int, seconds: float, processes: int) -> None:
    from tests import embedded  # starts the servers, sets ISTORE_HOME  # noqa: F401

    home = Path(os.environ["ISTORE_HOME"])
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "istore.settings")
    os.environ["ISTORE_UPSTREAM_ALLOW"] = "127.0.0.1"
    upstream_port, proxy_port, nginx_port, shared_port = range(18_555, 18_559)
    token = set_up(home, upstream_port)
    client = ClientProcess()
    ports = {"direct": upstream_port, "proxied": proxy_port}
    servers = {
        "direct": [start(UPSTREAM, upstream_port, home / "upstream.log")],
        "proxied": [start(PROXY, proxy_port, home / "proxy.log")],
    }
    if nginx := start_nginx(nginx_port, upstream_port, home):
        ports["nginx"], servers["nginx"] = nginx_port, [nginx]
    if processes > 1:
        ports[SEVERAL] = shared_port
        servers[SEVERAL] = start_several(processes, shared_port, home / "proxy.log")
    try:
        for port in ports.values():
            wait_for(port)
        report(Bench(home, token, ports, client, servers), rounds, seconds)
    finally:
        client.end()
        everyone = [server for group in servers.values() for server in group]
        for server in everyone:
            server.send_signal(signal.SIGTERM)
        for server in everyone:
            server.wait(30)


def report(bench: Bench, rounds: int, seconds: float) -> None:
    routes = [route for route in ROUTES if route in bench.ports]
    for route in routes:
        bench.round("bare", route, seconds=1)
    for kind, connections in (
        ("aiohttp", CONNECTIONS),
        ("bare", CONNECTIONS),
        ("bare", 1),
        ("streams", CONNECTIONS),
    ):
        measured: dict[str, list[dict]] = {route: [] for route in routes}
        load = os.getloadavg()[0]
        for _ in range(rounds):
            for route in routes:
                found = bench.round(kind, route, seconds, connections)
                measured[route].append(found)
        print(
            f"{kind} client, {connections} connections, {rounds} x {seconds:g} s, "
            f"load before {load:.1f}"
        )
        title = f"{kind} client, {connections} connections"
        print_rounds(title, measured, kind)
    bench.drain()
    stored = sum(1 for _ in (bench.home / "blobs").rglob("*.records"))
    print(
        f"{stored} packs of records stored, {bench.drained_for:.0f} s of it after the rounds"
    )


def print_rounds(title: str, measured: dict[str, list[dict]], kind: str) -> None:
    def middle(route: str, name: str) -> float:
        return statistics.median(each[name] for each in measured[route])

    unit = "chunk" if kind == "streams" else "call"
    for route in measured:
        rate, median, p95 = (
            middle(route, each) for each in ("per_second", "median_ms", "p95_ms")
        )
        own = {"direct": (), "nginx": ("nginx",)}.get(route, ("proxy", "capture"))
        spent = ", ".join(
            f"{who} {middle(route, f'{name}_us'):.0f}"
            for who, name in (
                ("client", "client"),
                ("upstream", "direct"),
                *((name, name) for name in own),
            )
        )
        print(f"  {route:8} {rate:6.0f}/s  median {median:5.2f} ms  p95 {p95:5.2f} ms")
        print(f"           µs of processor time a {unit}: {spent}")
    if kind == "streams":
        print(f"  target   {TARGET_CHUNK_US} µs of the proxy a chunk")
        spent_us = middle("proxied", "proxy_us")
        note(title, spent_us, "µs a chunk", target=TARGET_CHUNK_US, fewer=True)
        return
    for name in ("median_ms", "p95_ms"):
        added = middle("proxied", name) - middle("direct", name)
        target = (
            f" (target {TARGET_MS:g} at one connection)" if name == "p95_ms" else ""
        )
        print(f"  added    {name.removesuffix('_ms')} {added:.2f} ms{target}")
        most = TARGET_MS if target and title.endswith(" 1 connections") else None
        note(f"{title}, {name} added", added, "ms", target=most, fewer=True)
    note(f"{title}, processor", middle("proxied", "proxy_us"), "µs a call", fewer=True)
    kept = statistics.mean(each["recorded"] for each in measured["proxied"])
    print(f"  recorded {kept:.1%}")
    for route in ("direct", "nginx"):
        if route in measured:
            share = middle("proxied", "per_second") / middle(route, "per_second")
            target = f" (target {TARGET_OF_NGINX:.0%})" if route == "nginx" else ""
            print(f"  share    {share:.0%} of {route}{target}")
            least = TARGET_OF_NGINX if route == "nginx" else None
            rate, bare = (middle(each, "per_second") for each in ("proxied", route))
            note(f"{title}, of {route}", rate, "calls/s", limit=bare, target=least)
    if SEVERAL in measured:
        rate, one = (middle(each, "per_second") for each in (SEVERAL, "proxied"))
        print(f"  several  {rate / one:.2f} of one process")
        note(f"{title}, several processes", rate, "calls/s", limit=one)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument(
        "--processes", type=int, default=1, help="proxies on a port, measured beside"
    )
    parser.add_argument("--client", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.client:
        answer_rounds()
    else:
        run(given.rounds, given.seconds, given.processes)


if __name__ == "__main__":
    main()
