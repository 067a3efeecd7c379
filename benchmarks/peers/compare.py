"""Measure Phoenix, MLflow, LiteLLM and nginx beside the store, in one run.

``benchmarks/peers/run`` starts this. Peers are installed from the package registry, each into an
environment of its own (``ISTORE_PEERS`` names where); nginx is measured if the machine has it.
What keeps rows gets the rows of ``batches.py``, on the same PostgreSQL as the store, in batches
of 1,000 over one connection. Proxies get the calls of ``proxy.py``, before the same upstream.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import batches, export, proxy  # noqa: E402
from benchmarks.ingest import Traffic, servers, set_up  # noqa: E402
from benchmarks.peers import environments, proxies  # noqa: E402
from benchmarks.query import PORT, Api, web  # noqa: E402

PEER_PORT, UPSTREAM_PORT, PROXY_PORT = 18_620, 18_621, 18_622
KEEPERS, PROXIES = ("phoenix", "mlflow"), ("nginx", "litellm")
# MLflow has no count but by reading every page, some ten milliseconds a row.
MOST_ROWS = {"mlflow": 500}
CAMERA = [{"key": "camera", "type": "string", "operator": "=", "value": "camera-7"}]
COLUMNS = {
    "in": "rows/s in",
    "page": "page of 50, ms",
    "count": "count of 2 %, ms",
    "export": "Parquet, rows/s",
}


def database(schema: str) -> str:
    """Return the URL of a fresh schema in the store's own database."""
    from django.db import connection

    values = connection.get_connection_params()
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE SCHEMA {schema}")
    user, password = quote(values["user"]), quote(values["password"])
    where = f"host={quote(values['host'], safe='')}"
    path = quote(f"-csearch_path={schema}")
    return f"postgresql://{user}:{password}@/{values['dbname']}?{where}&options={path}"


@contextmanager
def reported(peer: str) -> Iterator[None]:
    """Print why a peer could not be measured; the others are, all the same."""
    try:
        yield
    except SystemExit as error:
        print(f"{peer} could not be measured: {error}", flush=True)


def start_of(peer: str, directory: Path) -> tuple[list[str], dict[str, str]]:
    """Return the command and the environment of a peer that keeps rows."""
    programs, url = environments.install(peer), database(peer)
    if peer == "phoenix":
        own = {
            "PHOENIX_SQL_DATABASE_URL": url.partition("&options")[0],
            "PHOENIX_SQL_DATABASE_SCHEMA": peer,
            "PHOENIX_PORT": str(PEER_PORT),
            "PHOENIX_GRPC_PORT": str(PEER_PORT + 10),
            "PHOENIX_WORKING_DIR": str(directory),
            "PHOENIX_TELEMETRY_ENABLED": "false",
        }
        return [str(programs / "phoenix"), "serve"], own
    argv = [str(programs / "mlflow"), "server", "--backend-store-uri", url]
    argv += ["--host", "127.0.0.1", "--port", str(PEER_PORT)]
    argv += ["--artifacts-destination", str(directory / "artifacts")]
    return argv, {}


@contextmanager
def running(peer: str, directory: Path) -> Iterator[str]:
    """Run a peer that keeps rows until the block ends; gives its address."""
    argv, own = start_of(peer, directory)
    names = [n for n in os.environ if n.startswith(("ISTORE_", "DJANGO_"))]
    env = {name: value for name, value in os.environ.items() if name not in names}
    with (directory / f"{peer}.log").open("ab") as log:
        process = subprocess.Popen(
            argv, cwd=directory, env=env | own, stdout=log, stderr=log
        )
    try:
        proxy.wait_for(PEER_PORT, proxies.STARTS_IN, process)
        yield f"http://127.0.0.1:{PEER_PORT}"
    except SystemExit as error:
        log = (directory / f"{peer}.log").read_text()
        raise SystemExit(f"{error} {log[-3000:]}") from None
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def measure_peer(
    peer: str, directory: Path, rows: Path, longest: float
) -> dict[str, float]:
    """Return the figures of a peer: those that it has after the longest time, in seconds."""
    told_path = directory / f"{peer}.told"
    with running(peer, directory) as address, told_path.open("w+") as told:
        asked = [
            environments.install(peer) / "python",
            Path(__file__).parent / "spans.py",
        ]
        process = subprocess.Popen(
            [*asked, peer, address, rows], stdout=told, stderr=told, cwd=directory
        )
        try:
            process.wait(longest)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            print(f"{peer} was given up after {longest:.0f} s", flush=True)
        told.seek(0)
        lines = told.read().splitlines()
    if process.returncode > 0:
        raise SystemExit(f"{peer}: {' '.join(lines[-20:])}")
    figures = [line for line in lines if line.startswith('{"in"')]
    found: dict[str, float] = json.loads(figures[-1]) if figures else {}
    return found


def measure_store(model, rows: list[bytes]) -> dict[str, float]:
    from istore.accounts.tokens import create_token
    from istore.models import Role

    token = create_token("peers", model.project, Role.EDITOR)[1]
    size = batches.LINES
    bodies = [b"\n".join(rows[at : at + size]) for at in range(0, len(rows), size)]
    found: dict[str, float] = {}
    with web(2):
        begun = time.perf_counter()
        batches.post(token, PORT, batches.Work(model.model_id, bodies))
        found["in"] = len(rows) / (time.perf_counter() - begun)
        api = Api(token)
        page = [api.ask(model.model_id, "filter", {}) for _ in range(21)]
        camera = {"filters": {"metadata_filter": CAMERA}}
        count = [api.ask(model.model_id, "count", camera) for _ in range(21)]
    found["page"] = statistics.median(took for took, _ in page[1:])
    found["count"] = statistics.median(took for took, _ in count[1:])
    found["export"] = len(rows) / export.exported("parquet", model.model_id)[0]
    return found


def compare_keepers(given: argparse.Namespace, directory: Path) -> None:
    with servers(given.directory):
        model, traffic = set_up(), Traffic(given.rows)
        rows = [batches.line(traffic) for _ in range(given.rows)]
        path = directory / "rows.jsonl"
        print(f"{given.rows:,} rows; load {os.getloadavg()[0]:.1f}")
        print(f"{'':28} {'  '.join(f'{head:>18}' for head in COLUMNS.values())}")
        _show("Inference Store", measure_store(model, rows))
        for peer in KEEPERS:
            if peer in given.only:
                some = rows[: MOST_ROWS.get(peer)]
                path.write_bytes(b"\n".join(some))
                with reported(peer):
                    found = measure_peer(peer, directory, path, given.longest)
                    name = f"{peer} {environments.version(peer)}"
                    few = "" if some == rows else f", {len(some):,} rows"
                    _show(f"{name}{few}", found)


def _show(name: str, found: dict[str, float]) -> None:
    values = (found.get(column) for column in COLUMNS)
    cells = (f"{'—' if v is None else f'{v:,.1f}':>18}" for v in values)
    print(f"{name:28} {'  '.join(cells)}", flush=True)


def compare_proxies(given: argparse.Namespace, directory: Path) -> None:
    # Starts the servers, and sets ISTORE_HOME.
    from tests import embedded  # noqa: F401

    home = Path(os.environ["ISTORE_HOME"])
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "istore.settings")
    os.environ["ISTORE_UPSTREAM_ALLOW"] = "127.0.0.1"
    token = proxy.set_up(home, UPSTREAM_PORT)
    log = directory / "upstream.log"
    upstream = proxy.start(proxy.UPSTREAM, UPSTREAM_PORT, log)
    client = proxy.ClientProcess()
    ours = None
    try:
        proxy.wait_for(UPSTREAM_PORT)
        print(f"\nload {os.getloadavg()[0]:.1f}")
        direct = proxies.measure(client, upstream, UPSTREAM_PORT, token, given.seconds)
        proxies.report("direct", direct)
        for peer in PROXIES:
            if peer not in given.only:
                continue
            with (
                reported(peer),
                proxies.running(peer, directory, PEER_PORT, UPSTREAM_PORT) as process,
            ):
                if process is None:
                    print(f"{peer:24} is not on this machine")
                    continue
                found = proxies.measure(
                    client, process, PEER_PORT, token, given.seconds
                )
                proxies.report(peer, found)
        ours = proxy.start(proxy.PROXY, PROXY_PORT, log)
        proxy.wait_for(PROXY_PORT)
        found = proxies.measure(client, ours, PROXY_PORT, token, given.seconds)
        proxies.report("Inference Store", found)
        print(f"{found['recorded']:.1%} of the store's calls were recorded")
    finally:
        client.end()
        for process in filter(None, (upstream, ours)):
            process.terminate()
            process.wait(30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=8, help="of each proxy")
    parser.add_argument("--only", nargs="*", default=[*KEEPERS, *PROXIES])
    parser.add_argument(
        "--longest", type=float, default=900, help="seconds for one that keeps rows"
    )
    parser.add_argument("--directory", help="on whose disk; a temporary one by default")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if not given.part:  # each has servers of its own, and Django is set up but once
        for part in PARTS:
            subprocess.run([sys.executable, *sys.argv, "--part", part], check=True)
        return
    with tempfile.TemporaryDirectory(prefix="istore-peers-") as name:
        PARTS[given.part](given, Path(name))


PARTS = {"proxies": compare_proxies, "rows": compare_keepers}


if __name__ == "__main__":
    main()
