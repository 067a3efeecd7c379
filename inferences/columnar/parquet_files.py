"""Measure Parquet files from anyone, in a child process: a damaged file may end its reader."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from inferences.columnar import parquet_check
from istore.errors import BadInput, StoreError, TooLarge

PROGRAM = Path(parquet_check.__file__)
MEMORY_BYTES = 3 * 2**30  # of address space; most of it is only reserved by libraries
ROWS_AT_ONCE = 1000
UNPACKED_MAX_BYTES = 2 * 2**30
SECONDS = 600  # of processor time; a file of the largest size takes about ten


@dataclass(frozen=True, slots=True)
class Measured:
    """A lower bound of the size: the child stops once it has found more than the limits."""

    rows: int
    values: int
    bytes: int


def measure(
    file: IO[bytes],
    longest: Mapping[str, int],
    *,
    rows: int = 2**62,
    values: int = 2**62,
    size: int = UNPACKED_MAX_BYTES,
    seconds: int = SECONDS,
) -> Measured:
    """Return the size of the file, read to its end or until it exceeds a limit.

    ``longest`` has the columns that are read, with the limit of their texts in bytes:
    longer texts count as empty. Raises a ``StoreError`` that says why the file cannot be read.
    """
    asked = {
        "memory": MEMORY_BYTES,
        "seconds": seconds,
        "rows": rows,
        "values": values,
        "bytes": size,
        "longest": longest,
        "rows_at_once": ROWS_AT_ONCE,
    }
    with _on_disk(file) as content:
        try:
            child = subprocess.run(
                [sys.executable, "-I", str(PROGRAM), json.dumps(asked)],
                stdin=content,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={"ARROW_DEFAULT_MEMORY_POOL": "system"},
                timeout=10 * seconds,
                check=False,
            )
            said = json.loads(child.stdout) if child.returncode == 0 else {}
        except (subprocess.TimeoutExpired, ValueError):
            said = {}
    if said.get("is_too_large"):
        raise too_large()
    if "rows" not in said:
        why = said.get("error", "it ends its reader, or takes too long.")
        detail = f"The file cannot be read as Parquet: {why}"
        raise BadInput("malformed-file", detail)
    return Measured(**said)


def too_large() -> StoreError:
    """Return the error of a file that unpacks to more than ``UNPACKED_MAX_BYTES``."""
    detail = f"Unpacked, a file has at most {UNPACKED_MAX_BYTES} bytes."
    return TooLarge("body-too-large", detail)


@contextmanager
def _on_disk(file: IO[bytes]) -> Iterator[IO[bytes]]:
    """Yield the file, or a copy if it has no descriptor; both are at their start."""
    file.seek(0)
    try:
        file.fileno()
    except (AttributeError, OSError):
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(file, copy)
            copy.seek(0)
            yield copy
    else:
        yield file
    file.seek(0)
