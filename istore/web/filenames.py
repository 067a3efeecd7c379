"""File names of downloads: ids may contain characters that file names may not."""

from __future__ import annotations

CHARS_MAX = 80
BYTES_MAX = 200  # file systems allow 255; the rest is for what callers append


def file_stem(text: str, default: str) -> str:
    """Return a name made of any text that is safe on every file system.

    Letters, digits, ``-``, ``_`` and inner dots stay. Everything else becomes ``-``: path
    separators, control characters, marks that change the direction of writing.
    """
    kept = "".join(c if c.isalnum() or c in "-_." else "-" for c in text)
    short = kept.strip("-.")[:CHARS_MAX].encode()[:BYTES_MAX]
    return short.decode("utf-8", "ignore").strip("-.") or default
