"""Pictures as pages show them: decoded in a child, encoded again, kept on disk a while.

Which input may be seen is asked before, for each request; here it must still lie in the
store. What is kept goes after a day, and with ``forget`` when its input goes.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from inferences.previews.picture_pool import Busy, Unreadable, pool
from istore import blobs

__all__ = ["SIZES", "Busy", "Measure", "Unreadable", "forget", "measure", "preview"]

SIZES = (160, 320, 640, 1280)
MEASURE = "measure"
HEAD = 256 * 1024  # where the size of a picture is said, of nearly all
LARGEST_INPUT = 64 * 1024**2
KEPT_SECONDS = 24 * 3600
KEPT_BYTES = 512 * 1024**2
SWEEP_EVERY = 100
FEW = 100  # keys that are looked up one by one
NEVER_SHOWN = (f"/{blobs.ANSWER}", f"/{blobs.METADATA}")

_written = 0


@dataclass(frozen=True, slots=True)
class Measure:
    """Size in pixels as decoded, and how EXIF says it is to be turned (1: not at all)."""

    width: int
    height: int
    orientation: int = 1

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height the way the picture is looked at."""
        turned = self.orientation >= 5
        return (self.height, self.width) if turned else (self.width, self.height)


def measure(key: str) -> Measure:
    """The measure of the picture under a key. Raises ``Unreadable`` or ``Busy``,
    ``FileNotFoundError`` when the input is gone."""
    kept = _read(key, MEASURE)
    if kept is None:
        try:
            kept = json.dumps(_measure(key)).encode()
        except Unreadable as error:
            kept = json.dumps({"error": str(error)}).encode()
        _keep(key, MEASURE, kept)
    said = json.loads(kept)
    if error := said.get("error"):
        raise Unreadable(error)
    return Measure(said["width"], said["height"], said["orientation"])


def _measure(key: str) -> dict[str, Any]:
    with blobs.open_blob(key) as file:
        head = file.read(HEAD)
        try:
            return pool.ask(head)[0]
        except Unreadable:
            if len(head) < HEAD:
                raise
    return pool.ask(_content(key))[0]


def preview(key: str, size: int) -> bytes:
    """A WebP picture of at most ``size`` pixels a side, upright. Raises as ``measure``."""
    if size not in SIZES:
        raise ValueError(f"A size is one of {SIZES}.")
    try:
        blobs.size(key)  # what is kept must not outlive its input
    except FileNotFoundError:
        forget([key])
        raise
    kept = _read(key, str(size))
    if kept is None:
        _, kept = pool.ask(_content(key), size)
        _keep(key, str(size), kept)
    return kept


def etag(key: str, size: int) -> str:
    """A key is written once: the key and the size say which bytes."""
    return f'"{_name(key, str(size))[:32]}"'


def forget(keys: list[str]) -> None:
    """Remove what was kept of these inputs."""
    directory = _directory()
    kinds = (MEASURE, *map(str, SIZES))
    # Of most inputs nothing is kept: many are looked up in one listing.
    there = set(os.listdir(directory)) if len(keys) > FEW else None
    if there is not None and not there:
        return
    for key in keys:
        if key.endswith(NEVER_SHOWN):
            continue
        for name in (_name(key, kind) for kind in kinds):
            if there is None or name in there:
                with suppress(OSError):
                    os.unlink(directory / name)


def _content(key: str) -> bytes:
    if blobs.size(key) > LARGEST_INPUT:
        raise Unreadable(f"More than {LARGEST_INPUT:,} bytes.")
    return blobs.get(key)


# -- what is kept, by a name that says nothing


def _name(key: str, kind: str) -> str:
    return hashlib.sha256(f"{key}\n{kind}".encode()).hexdigest()


def _directory() -> Path:
    return settings.ISTORE_HOME.directory("previews")


def _path(key: str, kind: str) -> Path:
    return _directory() / _name(key, kind)


def _read(key: str, kind: str) -> bytes | None:
    try:
        return _path(key, kind).read_bytes()
    except OSError:
        return None


def _keep(key: str, kind: str, content: bytes) -> None:
    """Losing what is kept costs time and nothing else: no disk failure is told."""
    global _written
    path = _path(key, kind)
    partial = path.with_name(f".{secrets.token_hex(8)}.partial")
    with suppress(OSError):
        partial.write_bytes(content)
        os.replace(partial, path)
    _written += 1
    if _written % SWEEP_EVERY == 0:
        sweep()


def sweep(now: float | None = None) -> None:
    """Remove what is older than a day, and the oldest above ``KEPT_BYTES``."""
    found = []
    for entry in os.scandir(_directory()):
        with suppress(OSError):
            seen = entry.stat()
            found.append((seen.st_mtime, seen.st_size, entry.path))
    oldest = (now or time.time()) - KEPT_SECONDS
    total = sum(size for _, size, _ in found)
    for written_at, size, path in sorted(found):
        if written_at >= oldest and total <= KEPT_BYTES:
            break
        with suppress(OSError):
            os.unlink(path)
        total -= size
