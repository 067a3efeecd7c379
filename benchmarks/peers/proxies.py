"""nginx and LiteLLM before the same upstream as the store's proxy, with the same calls."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.peers import environments
from benchmarks.proxy import family, seconds_of, wait_for

STARTS_IN = 180  # seconds
# A bare reverse proxy with connections that are kept, one process, and no log.
NGINX = """
worker_processes 1; daemon off; pid {directory}/pid; error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_buffer_size 1m; client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
  upstream model {{ server 127.0.0.1:{upstream}; keepalive 32; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://model; proxy_http_version 1.1; proxy_set_header Connection "";
    }}
  }}
}}
"""
# LiteLLM passes any call below a path through; with its defaults it keeps no copy.
LITELLM = """
general_settings:
  dangerously_permit_weak_or_unset_master_key: true
  pass_through_endpoints:
    - path: /v2
      target: http://127.0.0.1:{upstream}/v2
      include_subpath: true
"""


def command(peer: str, directory: Path, port: int, upstream: int) -> list[str] | None:
    """Return how a proxy is started; None if it is not on this machine."""
    if peer == "nginx":
        if not (
            found := shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/bin")
        ):
            return None
        path = directory / "nginx.conf"
        path.write_text(NGINX.format(directory=directory, port=port, upstream=upstream))
        return [found, "-c", str(path), "-p", str(directory)]
    programs = environments.install(peer)
    path = directory / "litellm.yaml"
    path.write_text(LITELLM.format(upstream=upstream))
    return [
        *(str(programs / "litellm"), "--config", str(path)),
        *("--host", "127.0.0.1", "--port", str(port)),
    ]


@contextmanager
def running(
    peer: str, directory: Path, port: int, upstream: int
) -> Iterator[subprocess.Popen | None]:
    """Run a proxy until the block ends; gives None if it is not on this machine."""
    argv = command(peer, directory, port, upstream)
    if argv is None:
        yield None
        return
    with (directory / f"{peer}.log").open("ab") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log)
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
