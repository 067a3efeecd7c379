"""Entries of one model whose blobs cannot be put, kept apart so that others go on.

``<spool>/waiting/<project key>.<model key>/`` holds segments in the form of the spool, closed
and complete from the beginning, with owners of their own. They are written durably before
the segment that held the entries is given up. Whoever holds the lock of the folder tries them
again. The bytes of one model are bounded: over ``SHARE`` of the spool the proxy keeps no
more copies of that model, so that it cannot take the room of all others.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from django.conf import settings

from istore.uuids import uuid7
from proxy.spool.frames import head, header
from proxy.spool.spool_files import SpoolFile, sync_directory, write_durably

FOLDER, LOCK = "waiting", "retry"
SHARE = 0.25
STORAGE = "storage-failing"  # why no copy is kept


def model_of(key: str) -> str:
    """The folder that all blobs of a model are in, of the key or prefix of one of them."""
    return "/".join(key.split("/")[:2])


def folder_of(spool: Path, model: str) -> Path:
    return spool / FOLDER / model.replace("/", ".")


def folders(spool: Path) -> list[Path]:
    """Of the models that have, or had, entries that wait."""
    try:
        return sorted(each for each in (spool / FOLDER).iterdir() if each.is_dir())
    except OSError:
        return []


def set_aside(spool: Path, model: str, payloads: Sequence[bytes], at: float) -> None:
    """Keep the entries durably. ``at`` is since when they wait. Raises OSError."""
    folder = folder_of(spool, model)
    if not folder.is_dir():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync_directory(folder.parent)
        sync_directory(spool)
    segment = SpoolFile(folder, uuid7().replace("-", ""), 1, is_closed=True)
    identity = segment.identity
    pieces = [header(identity)]
    for number, payload in enumerate(payloads):
        pieces.append(head(identity, len(payload), zlib.crc32(payload), number))
        pieces.append(payload)
    write_durably(segment.path, pieces)
    with suppress(OSError):
        os.utime(segment.path, (at, at))


def full_models(spool: Path) -> set[str]:
    """Models of which no more is kept until some of it is captured."""
    most = settings.ISTORE_SPOOL_MAX_BYTES * SHARE
    return {
        each.name.replace(".", "/") for each in folders(spool) if _bytes_in(each) > most
    }


def _bytes_in(folder: Path) -> int:
    total = 0
    with suppress(FileNotFoundError), os.scandir(folder) as found:
        for entry in found:
            with suppress(FileNotFoundError):
                total += entry.stat().st_size
    return total
