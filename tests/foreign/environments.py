"""Environments of other software: made once, kept in a cache, used by their interpreter.

``ISTORE_FOREIGN_CACHE`` says where they are kept; else the directory for temporary files.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INSIDE = Path(__file__).parent / "inside"


def cache() -> Path:
    said = os.environ.get("ISTORE_FOREIGN_CACHE")
    return Path(said) if said else Path(tempfile.gettempdir()) / "istore-foreign"


def interpreter(name: str, packages: Sequence[str]) -> Path:
    """The interpreter of an environment with these packages, which is made if it is not
    there. Raises CalledProcessError when a package cannot be installed."""
    digest = hashlib.sha256(" ".join([sys.version, *packages]).encode()).hexdigest()
    home = cache() / f"{name}-{digest[:12]}"
    python = home / "bin" / "python"
    if not (home / "complete").exists():
        venv.create(home, clear=True, with_pip=True)
        install = [python, "-m", "pip", "install", "--quiet", *packages]
        subprocess.run(install, check=True, timeout=1800)
        (home / "complete").touch()
    return python


def versions(python: Path, *packages: str) -> str:
    """``numpy 2.4.6, …`` as they are installed there."""
    program = (
        "import sys; from importlib.metadata import version; "
        "print(', '.join(f'{name} {version(name)}' for name in sys.argv[1:]))"
    )
    said = subprocess.run(
        [python, "-c", program, *packages], check=True, capture_output=True, text=True
    )
    return said.stdout.strip()


def run_inside(python: Path, script: str, *arguments: str) -> str:
    """What a script of ``inside/`` prints there, with our client to import.

    Raises AssertionError with what it said when it fails.
    """
    done = subprocess.run(
        [python, INSIDE / script, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT / "sdk" / "src")},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"{script}:\n{done.stdout}\n{done.stderr}"
    return done.stdout.strip()
