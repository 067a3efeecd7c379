"""Measure how long ``up`` takes until it is ready, and what the idle store takes of memory.

``.venv/bin/python benchmarks/start.py`` starts stores of their own in temporary homes: the first
start of a home and the next ones, as by default and with ISTORE_SMALL. Memory is the sum of PSS
(``smaps_rollup``) of all processes: each shared page counts once. Beside it stands one process
that imports the store and does nothing: what a start cannot do without. As soon as the store is
ready, calls go through the proxy to a model server: all of them should be recorded.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import proxy  # noqa: E402
from benchmarks.figures import note  # noqa: E402

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "istore.settings")
IMPORTS = "import django; django.setup(); import istore.urls, istore.celery, proxy.app"
CALLS, CALLS_AT_ONCE = 64, 4
SECONDS, GIGABYTES, SMALL_GIGABYTES = 5.0, 1.0, 0.5
TICKS = os.sysconf("SC_CLK_TCK")
# By what the command line of a process has, in this order.
KINDS = {
    "bin/postgres": "postgres",
    "postgres:": "postgres",
    "valkey": "valkey",
    "proxy.capture.worker": "capture",
    "proxy.serve": "proxy",
    "istore.web_server": "web",
    "exports-": "exporter",
    " beat ": "beat",
    " worker ": "worker",
    " listen": "listener",
    "fork server": "fork server",
    "manage.py up": "supervisor",
}


def kind_of(line: str) -> str:
    """Return the kind of the process with this command line."""
    return next((kind for words, kind in KINDS.items() if words in line), line)


def processes_of(supervisor: int) -> dict[int, str]:
    """Return the processes of a store, with their kinds."""
    from istore.tests.running_store import descendants, processes

    everyone = processes()
    ours = {supervisor, *descendants(supervisor)} & everyone.keys()
    return {pid: kind_of(everyone[pid][1]) for pid in ours}


def megabytes(pid: int) -> float:
    """Return the PSS of a process."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    (found,) = (line.split()[1] for line in lines if line.startswith("Pss:"))
    return int(found) / 1024


def processor_seconds(pid: int) -> float:
    """Return the processor time of a process and of its children that have ended."""
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, stat[11:15])) / TICKS


def memory_of(supervisor: int) -> Counter[str]:
    """Return the memory by kind of process, in MB."""
    found: Counter[str] = Counter()
    for pid, kind in processes_of(supervisor).items():
        found[kind] += megabytes(pid)
    return found


class Store:
    """A store in a home of its own."""

    def __init__(self, home: Path, **settings: str) -> None:
        from istore.tests.running_store import RunningStore

        self._running = RunningStore(home)
        self._running.env |= settings
        self.token = ""

    def start(self) -> tuple[float, float]:
        """Start it; return the seconds until it was ready, and those of processors."""
        begun, used = time.monotonic(), sum(os.times()[2:4])
        done = self._running.command("up", "--detach")
        took = time.monotonic() - begun
        if done.returncode:
            raise SystemExit(done.stderr)
        own = sum(os.times()[2:4]) - used
        found = self.processes()
        return took, own + sum(processor_seconds(pid) for pid in found)

    def processes(self) -> dict[int, str]:
        return processes_of(self._running.supervisor())

    def memory(self) -> Counter[str]:
        return memory_of(self._running.supervisor())

    def stop(self) -> None:
        self._running.command("up", "--stop")

    def register(self, upstream: int) -> None:
        """Register the model of the calls, served at this port."""
        options = ["--project", "default", "--role", "editor"]
        token = self._running.command("create_token", "calls", *options).stdout
        self.token = token.strip()
        model = {
            **{"model_id": "instant", "project_id": "default"},
            **{"task_type": "Object Detection", "class_labels": ["ship"]},
            **{"first_class_number": 0, "box_format": "yxyx", "embedding_size": 0},
            "upstream_url": f"http://127.0.0.1:{upstream}",
            "enable_inference_storage": True,
        }
        url = f"http://127.0.0.1:{self._running.port}/api/v1/models"
        headers = {"Authorization": f"Bearer {self.token}"}
        made = requests.post(url, json=model, headers=headers, timeout=30)
        if not made.ok:
            raise SystemExit(made.text)

    def recorded(self) -> float:
        """Send the first calls, several at a time; return the share that was recorded."""
        url = f"http://127.0.0.1:{self._running.proxy_port}/v2/models/instant/infer"
        headers = {"Authorization": f"Bearer {self.token}"}
        entry = {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["x"]}

        def call(_: int) -> bool:
            answer = requests.post(
                url, json={"inputs": [entry]}, headers=headers, timeout=60
            )
            answer.raise_for_status()
            return answer.headers["Inference-Store"] == "recorded"

        with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
            return statistics.fmean(pool.map(call, range(CALLS)))


def seconds_of_imports() -> float:
    """Return how long one process takes that imports the store and ends."""
    begun = time.monotonic()
    subprocess.run([sys.executable, "-c", IMPORTS], cwd=ROOT, check=True)
    return time.monotonic() - begun


def show_start(name: str, took: float, used: float) -> None:
    print(f"{name:24} {took:6.1f} s until ready, {used:5.1f} s of processors")


def start(name: str, store: Store, rounds: int) -> None:
    """Start the store several times, and leave it running."""
    starts, recorded = [], 1.0
    for number in range(rounds):
        if number:
            store.stop()
        took, used = store.start()
        show_start(name, took, used)
        recorded = min(recorded, store.recorded())
        starts.append((took, used))
    note(f"{name}, first calls recorded", recorded, "of all", target=1)
    print(f"{'':24} {recorded:.1%} of the first {CALLS} calls were recorded")
    took, used = (statistics.median(each) for each in zip(*starts, strict=True))
    note(name, took, "s", target=SECONDS, fewer=True)
    note(f"{name}, processors", used, "s")


def show_memory(name: str, store: Store, limit: float) -> None:
    """Print and note the memory of a running store."""
    memory, count = store.memory(), Counter(store.processes().values())
    kinds = ", ".join(
        f"{kind}{f' ({count[kind]})' if count[kind] > 1 else ''} {size:.0f}"
        for kind, size in memory.most_common()
    )
    print(f"{name:24} {memory.total():6.0f} MB: {kinds}", flush=True)
    note(name, memory.total() / 1000, "GB", target=limit, fewer=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--idle", type=float, default=30, help="seconds before memory")
    given = parser.parse_args()
    import django

    directory = Path(tempfile.mkdtemp())
    os.environ["ISTORE_HOME"] = str(directory / "unused")
    django.setup()
    from istore.tests.running_store import free_ports

    alone = statistics.median(seconds_of_imports() for _ in range(given.rounds))
    print(f"{'one process, imports':24} {alone:6.1f} s, load {os.getloadavg()[0]:.1f}")
    store = Store(directory / "home")
    small = Store(directory / "home", ISTORE_SMALL="true")
    (port,) = free_ports(1)
    upstream = proxy.start(proxy.UPSTREAM, port, directory / "upstream.log")
    try:
        took, used = store.start()
        show_start("first start", took, used)
        note("first start", took, "s")
        store.register(port)
        small.token = store.token
        store.stop()
        for words, each, limit in (
            ("", store, GIGABYTES),
            ("small, ", small, SMALL_GIGABYTES),
        ):
            start(f"{words}start", each, given.rounds)
            time.sleep(given.idle)
            show_memory(f"{words}idle memory", each, limit)
            each.stop()
    finally:
        store.stop()
        upstream.terminate()
        upstream.wait(30)
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
