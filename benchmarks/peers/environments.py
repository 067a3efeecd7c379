"""Environments of peers: each has its own, so that no package of it meets one of the store."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# What is installed; versions are the newest at that time, and are reported.
PACKAGES = {
    "phoenix": ("arize-phoenix[pg]", "opentelemetry-proto", "pandas", "pyarrow"),
    "mlflow": ("mlflow", "psycopg[binary]", "opentelemetry-proto"),
    "litellm": ("litellm[proxy]",),
}
VERSIONS = {"phoenix": "arize-phoenix", "mlflow": "mlflow", "litellm": "litellm"}
DIRECTORY = Path(os.environ.get("ISTORE_PEERS", Path.home() / ".cache/istore-peers"))


def install(peer: str) -> Path:
    """Return the programs of a peer, which is installed if it was not yet."""
    root = DIRECTORY / peer
    programs = root / "bin"
    if not (root / "installed").exists():
        subprocess.run([sys.executable, "-m", "venv", root], check=True)
        subprocess.run(
            [programs / "python", "-m", "pip", "install", "-q", *PACKAGES[peer]],
            check=True,
        )
        (root / "installed").touch()
    return programs


def version(peer: str) -> str:
    """Return the installed version of a peer."""
    code = f"from importlib.metadata import version; print(version({VERSIONS[peer]!r}))"
    return subprocess.run(
        [DIRECTORY / peer / "bin/python", "-c", code],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
