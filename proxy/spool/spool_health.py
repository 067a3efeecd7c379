"""Is the spool captured in time? Judged by its files alone; used by readiness and ``verify``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings

from istore.blobs.durable_files import no_room
from istore.checks.verification import Finding, Scope
from proxy import waiting
from proxy.spool.spool_files import is_spool_file, spool_files_in
from proxy.spool.writer import age_of


def trouble() -> str | None:
    """Return that entries wait for too long, or that the disk is nearly full; None if neither."""
    spool: Path = settings.ISTORE_SPOOL_DIR
    if not spool.is_dir():  # no proxy ever ran on this machine
        return None
    seconds = age_of(spool)
    if seconds > settings.ISTORE_SPOOL_WARN_SECONDS:
        models = [each.name for each in waiting.folders(spool) if spool_files_in(each)]
        said = f"The oldest answer that is not stored waits for {seconds:.0f} s"
        if models:
            said += f"; blobs of {len(models)} models cannot be put"
        return said + "."
    return no_room(spool)


def files_left() -> str | None:
    """Return that files were set aside, which only ``replay_spool`` reads again; None if none."""
    found = files_aside(settings.ISTORE_SPOOL_DIR)
    if not found:
        return None
    return f"{len(found)} files of the spool were set aside: manage.py replay_spool."


def files_aside(spool: Path) -> list[Path]:
    """Return the files of entries, and of stretches of segments, that could not be captured."""
    folders = [spool, *waiting.folders(spool)]
    patterns = ("*.set-aside", "*.damaged")
    return sorted(
        path for folder in folders for each in patterns for path in folder.glob(each)
    )


def foreign_files(spool: Path) -> list[Path]:
    """Return files that have the ending of a segment but no name that capture would read."""
    return sorted(
        path
        for folder in (spool, *waiting.folders(spool))
        for pattern in ("*.open", "*.closed")
        for path in folder.glob(pattern)
        if not is_spool_file(path.name)
    )


def waiting_models(spool: Path) -> list[tuple[str, int, float]]:
    """Return the models whose entries are set apart: blob folder, bytes, age in seconds."""
    found = []
    for folder in waiting.folders(spool):
        stats = [each.path.stat() for each in spool_files_in(folder)]
        if stats:
            size = sum(each.st_size for each in stats)
            age = time.time() - min(each.st_mtime for each in stats)
            found.append((folder.name.replace(".", "/"), size, max(0.0, age)))
    return found


def spool_files(scope: Scope) -> Iterator[Finding]:
    """Yield a finding for each spool file that waits for a person, or for the blob store."""
    spool = settings.ISTORE_SPOOL_DIR
    for path in files_aside(spool):
        yield Finding("spool-file", path.name, "Not captured: manage.py replay_spool.")
    for path in foreign_files(spool):
        yield Finding("spool-foreign", path.name, "Not a file of the spool.")
    for folder, size, seconds in waiting_models(spool):
        said = f"{size} bytes wait since {seconds:.0f} s: its blobs cannot be put."
        yield Finding("spool-waiting", folder, said)


def panel() -> dict[str, Any]:
    """Return the files of the spool that need a person, for the operator page."""
    spool = settings.ISTORE_SPOOL_DIR
    return {"files": files_aside(spool), "foreign": foreign_files(spool)}
