"""``manifest.json``, the last entry of every archive: its files and its skipped members.

It is streamed from temporary files, so a million entries take no memory.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator
from typing import IO, Any

import orjson

from exports.archives import Archive
from exports.export_report import Receipt
from exports.models import ArchiveTask

PATH = "manifest.json"
VERSION = 1


def add(
    archive: Archive,
    task: ArchiveTask,
    facts: dict[str, Any],
    receipt: Receipt,
    format_version: int,
) -> None:
    """Add the manifest; call it when ``receipt`` has counted every member."""
    head = {
        "manifest_version": VERSION,
        **facts,
        **_head(task, receipt, format_version),
    }
    with archive.writing(PATH) as file:
        file.write(orjson.dumps(head, option=orjson.OPT_INDENT_2)[:-2])
        _list(file, "skipped", receipt.skips())
        entries = (
            {"path": entry.path, "size": entry.size, "sha256": entry.sha256}
            for entry in archive.entries()
        )
        _list(file, "files", map(orjson.dumps, entries))
        file.write(b"\n}\n")


def _head(task: ArchiveTask, receipt: Receipt, format_version: int) -> dict[str, Any]:
    assert task.fixed_at is not None  # the set is fixed before anything is written
    return {
        "format": task.format,
        "options": task.options,
        "set_fixed_at": task.fixed_at.isoformat(),
        "versions": {
            "format": format_version,
            "record": 1,
            "python": platform.python_version(),
        },
        "expected_count": receipt.expected,
        "written_count": receipt.written,
        "skipped_count": receipt.skipped.total(),
        "skipped_by_reason": dict(sorted(receipt.skipped.items())),
        "warnings": receipt.summary()["warnings"],
    }


def _list(file: IO[bytes], name: str, items: Iterable[bytes]) -> None:
    file.write(f',\n  "{name}": ['.encode())
    for line in _separate(items):
        file.write(line)
    file.write(b"\n  ]")


def _separate(items: Iterable[bytes]) -> Iterator[bytes]:
    comma = b"\n    "
    for item in items:
        yield comma + item
        comma = b",\n    "
