"""Previews and sizes of pictures: decoded in a child process, and cached on disk.

Callers check access for each request; here the input must still exist in the store. Cached
files are deleted after a day, and by ``forget`` when their input is deleted.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from inferences.previews.picture_pool import Busy, Unreadable, pool
from istore import blobs
from istore.blobs import packs

__all__ = [
    "SIZES",
    "Busy",
    "Measure",
    "Unreadable",
    "forget",
    "measure",
    "preview",
    "preview_of",
]

SIZES = (160, 320, 640, 1280)
MEASURE = "measure"
CROPS = "crops"  # a directory of the cache, with one directory for each input
WHOLE = (MEASURE, *map(str, SIZES))  # kinds of cached files that are not parts
HEAD = 256 * 1024  # bytes; nearly all pictures have their size in these
LARGEST_INPUT = 64 * 1024**2
KEPT_SECONDS = 24 * 3600
KEPT_BYTES = 512 * 1024**2
SWEEP_EVERY = 100
FEW = 100  # keys; up to so many are looked up one by one
NEVER_SHOWN = (f"/{blobs.ANSWER}", f"/{blobs.METADATA}")

_written = 0

# Left, top, right and bottom of a part, in thousandths of the upright picture.
Crop = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Measure:
    """The size in pixels as decoded, and the EXIF orientation (1: not turned)."""

    width: int
    height: int
    orientation: int = 1

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height of the picture when it is upright."""
        turned = self.orientation >= 5
        return (self.height, self.width) if turned else (self.width, self.height)


def measure(key: str, *, may_be_moved: bool = True) -> Measure:
    """Return the measure of the picture under a key.

    Raises ``Unreadable`` or ``Busy``, and ``FileNotFoundError`` when the input is gone. Unless it
    ``may_be_moved``, one that was moved counts as gone (``blobs.open_unmoved``).
    """
    kept = _read(key, MEASURE)
    if kept is None:
        try:
            kept = json.dumps(_measure(key, may_be_moved)).encode()
        except Unreadable as error:
            kept = json.dumps({"error": str(error)}).encode()
        _keep(key, MEASURE, kept)
    fields = json.loads(kept)
    if reason := fields.get("error"):
        raise Unreadable(reason)
    return Measure(fields["width"], fields["height"], fields["orientation"])


def _measure(key: str, may_be_moved: bool) -> dict[str, Any]:
    with (blobs.open_blob if may_be_moved else blobs.open_unmoved)(key) as file:
        head = file.read(HEAD)
        try:
            return pool.ask(head)[0]
        except Unreadable:
            if len(head) < HEAD:
                raise
    return pool.ask(_content(key))[0]


def preview(key: str, size: int, crop: Crop | None = None) -> bytes:
    """Return an upright WebP picture of at most ``size`` pixels a side, or a part of it.

    Raises ``ValueError`` for another size than ``SIZES``, otherwise as ``measure`` does.
    """
    if size not in SIZES:
        raise ValueError(f"A size is one of {SIZES}.")
    try:
        if not blobs.exists(key):  # a cached preview must not outlive its input
            raise FileNotFoundError(key)
    except FileNotFoundError:
        forget([key])
        raise
    kind = _kind(size, crop)
    kept = _read(key, kind)
    if kept is None:
        _, kept = pool.ask(_content(key), size, crop)
        _keep(key, kind, kept)
    return kept


def preview_of(content: bytes, size: int) -> bytes:
    """Return an upright WebP picture of bytes that are no input of their own.

    It is not cached, since nobody would delete it with what it is a part of. Raises ``ValueError``
    for another size than ``SIZES``, otherwise as ``measure`` does.
    """
    if size not in SIZES:
        raise ValueError(f"A size is one of {SIZES}.")
    if len(content) > LARGEST_INPUT:
        raise Unreadable(f"More than {LARGEST_INPUT:,} bytes.")
    return pool.ask(content, size)[1]


def _kind(size: int, crop: Crop | None) -> str:
    return f"{size} {crop}" if crop else str(size)


def etag(key: str, size: int, crop: Crop | None = None) -> str:
    """Return the entity tag of a preview. A key is written once, so key, size and part suffice."""
    return f'"{_name(key, _kind(size, crop))[:32]}"'


def forget(keys: list[str]) -> None:
    """Delete the cached files of these inputs."""
    directory = _directory()
    # Most inputs have no cached file, so many keys are looked up in one directory listing.
    there = set(os.listdir(directory)) if len(keys) > FEW else None
    if there is not None and not there:
        return
    cut = None
    if there is not None:
        cut = set(os.listdir(directory / CROPS)) if CROPS in there else set()
    for key in keys:
        if key.endswith(NEVER_SHOWN):
            continue
        for name in (_name(key, kind) for kind in WHOLE):
            if there is None or name in there:
                with suppress(OSError):
                    os.unlink(directory / name)
        if cut is None or _name(key, CROPS) in cut:
            shutil.rmtree(_crops_of(key), ignore_errors=True)


def _content(key: str) -> bytes:
    if blobs.size(key) > LARGEST_INPUT:
        raise Unreadable(f"More than {LARGEST_INPUT:,} bytes.")
    return blobs.get(key)


# -- the cache on disk; file names are hashes, so they do not reveal keys


def _name(key: str, kind: str) -> str:
    return hashlib.sha256(f"{key}\n{kind}".encode()).hexdigest()


def _directory() -> Path:
    return settings.ISTORE_HOME.directory("previews")


def _crops_of(key: str) -> Path:
    """Return the directory of the parts of one picture, of which there may be any number."""
    return _directory() / CROPS / _name(key, CROPS)


def _path(key: str, kind: str) -> Path:
    holder = _directory() if kind in WHOLE else _crops_of(key)
    return holder / _name(key, kind)


def _read(key: str, kind: str) -> bytes | None:
    try:
        return _path(key, kind).read_bytes()
    except OSError:
        return None


def _keep(key: str, kind: str, content: bytes) -> None:
    """Write a cached file. A disk failure is ignored: a lost file only costs time.

    Whoever deletes or moves an input calls ``forget`` afterwards. So a file that was not there
    by then is seen here to have no input any more.
    """
    global _written
    path = _path(key, kind)
    partial = path.with_name(f".{secrets.token_hex(8)}.partial")
    with suppress(OSError):
        if kind not in WHOLE:
            path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        os.replace(partial, path)
    if packs.is_released(key) if packs.is_member(key) else not blobs.exists(key):
        forget([key])
    _written += 1
    if _written % SWEEP_EVERY == 0:
        sweep()


def sweep(now: float | None = None) -> None:
    """Delete cached files older than a day, and the oldest ones above ``KEPT_BYTES``."""
    found = []
    for holder, _, names in os.walk(_directory()):
        for path in (os.path.join(holder, name) for name in names):
            with suppress(OSError):
                seen = os.stat(path)
                found.append((seen.st_mtime, seen.st_size, path))
    oldest = (now or time.time()) - KEPT_SECONDS
    total = sum(size for _, size, _ in found)
    for written_at, size, path in sorted(found):
        if written_at >= oldest and total <= KEPT_BYTES:
            break
        with suppress(OSError):
            os.unlink(path)
            os.rmdir(os.path.dirname(path))  # of the parts of a picture, if it is empty
        total -= size
