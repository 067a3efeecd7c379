"""nginx and LiteLLM before the same upstream as the store's proxy, with the same calls."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.peers import environments
from benchmarks.proxy import family, seconds_of, start_nginx, wait_for

STARTS_IN = 300  # seconds, for machines with other work
# LiteLLM passes any call below a path through; with its defaults it keeps no copy.
LITELLM = """
general_settings:
  dangerously_permit_weak_or_unset_master_key: true
  pass_through_endpoints:
    - path: /v2
      target: http://127.0.0.1:{upstream}/v2
      include_subpath: true
"""


def start(
    peer: str, directory: Path, port: int, upstream: int
) -> subprocess.Popen | None:
    """Start a proxy; return None if it is not on this machine."""
    if peer == "nginx":
        return start_nginx(port, upstream, directory)
    programs = environments.install(peer)
    path = directory / "litellm.yaml"
    path.write_text(LITELLM.format(upstream=upstream))
    argv = [programs / "litellm", "--config", path, "--host", "127.0.0.1"]
    with (directory / f"{peer}.log").open("ab") as log:
        return subprocess.Popen([*argv, "--port", str(port)], stdout=log, stderr=log)


@contextmanager
def running(
    peer: str, directory: Path, port: int, upstream: int
) -> Iterator[subprocess.Popen | None]:
    """Run a proxy until the block ends; gives None if it is not on this machine."""
    process = start(peer, directory, port, upstream)
    if process is None:
        yield None
        return
    try:
        wait_for(port, STARTS_IN, process)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def measure(
    client, process: subprocess.Popen, port: int, token: str, seconds: float
) -> dict[str, float]:
    """Return calls a second, latencies, and the processor time of the proxy a call."""
    path, connections = "/v2/models/instant/infer", 16
    client.ask("bare", port, path, token, 1, connections)
    before = sum(map(seconds_of, family(process.pid)))
    found = client.ask("bare", port, path, token, seconds, connections)
    spent = sum(map(seconds_of, family(process.pid))) - before
    return found | {"us": spent / found["count"] * 1e6}


def report(name: str, found: dict[str, float]) -> None:
    """Print one line of the table of proxies."""
    print(
        f"{name:24} {found['per_second']:8,.0f} calls/s  p50 {found['median_ms']:7.2f} ms  "
        f"p95 {found['p95_ms']:7.2f} ms  {found['us']:6.0f} µs a call",
        flush=True,
    )
