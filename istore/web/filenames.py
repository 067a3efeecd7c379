"""Names of downloads: ids may hold what names of files may not."""

from __future__ import annotations

CHARS_MAX = 80
BYTES_MAX = 200  # of the 255 that file systems have, with room for what is put behind


def file_stem(text: str, default: str) -> str:
    """Of any text, what is safe as a name on every file system.

    Letters, digits, ``-``, ``_`` and dots inside stay, everything else is a ``-``: steps
    of a path, control characters, marks that turn the direction of writing.
    """
    kept = "".join(c if c.isalnum() or c in "-_." else "-" for c in text)
    short = kept.strip("-.")[:CHARS_MAX].encode()[:BYTES_MAX]
    return short.decode("utf-8", "ignore").strip("-.") or default
