"""Whether the static files of this release have been collected."""

from __future__ import annotations

import hashlib
from pathlib import Path

import django
from django.conf import settings
from django.contrib.staticfiles.finders import get_finders

from istore.home import Home


def are_collected(home: Home) -> bool:
    """Return whether the last collected files are those of this release.

    Who names ``ISTORE_STATIC_DIR`` has collected into it; it may be read-only.
    """
    manifest = Path(settings.STATIC_ROOT, "staticfiles.json")
    if settings.ISTORE_STATIC_DIR and manifest.exists():
        return True
    stamp = _stamp(home)
    return manifest.exists() and stamp.exists() and stamp.read_text() == _digest()


def note_collected(home: Home) -> None:
    """Write down that the static files of this release are collected."""
    _stamp(home).write_text(_digest())


def _stamp(home: Home) -> Path:
    return home.run / "static-files"


def _digest() -> str:
    """Return a digest that changes with the name, size or time of any static file."""
    found = hashlib.sha256(django.__version__.encode())
    for finder in get_finders():
        for name, storage in sorted(finder.list([]), key=lambda item: item[0]):
            seen = Path(storage.path(name)).stat()
            found.update(f"{name}\0{seen.st_size}\0{seen.st_mtime_ns}\n".encode())
    return found.hexdigest()
