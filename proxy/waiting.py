"""Entries of a model whose blobs cannot be uploaded, set apart so that other models go on.

``<spool>/waiting/<project key>.<model key>/`` holds segments in the spool's format, closed and
complete from the beginning, with owners of their own. They are written durably before the
segment that held the entries is given up. The process that holds the lock of the folder retries
them. The bytes of one model are bounded: above ``SHARE`` of the spool the proxy keeps no more
copies for that model, so that it cannot take the room of all others.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from django.conf import settings

from istore.blobs.durable_files import make_directory, write_durably
from istore.uuids import uuid7
from proxy.spool.frames import head, header
from proxy.spool.spool_files import SpoolFile

FOLDER, LOCK = "waiting", "retry"
SHARE = 0.25  # of ISTORE_SPOOL_MAX_BYTES, for each model
STORAGE = "storage-failing"  # the reason why no copy is kept above SHARE


def model_of(key: str) -> str:
    """Return the folder of a model's blobs, given the key or prefix of one of them."""
    return "/".join(key.split("/")[:2])


def folder_of(spool: Path, model: str) -> Path:
    """Return the folder for the waiting entries of this model."""
    return spool / FOLDER / model.replace("/", ".")


def folders(spool: Path) -> list[Path]:
    """Return the folders of all models that have, or had, entries that wait."""
    try:
        return sorted(each for each in (spool / FOLDER).iterdir() if each.is_dir())
    except OSError:
        return []


def set_aside(spool: Path, model: str, payloads: Sequence[bytes], at: float) -> None:
    """Keep the entries durably in the folder of their model. Raises OSError.

    ``at`` is since when they wait, in seconds since 1970: the age of the file tells it later.
    """
    folder = folder_of(spool, model)
    make_directory(folder)
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
    """Return the models of which no more copies are kept until some entries are captured."""
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
