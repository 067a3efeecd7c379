"""The steps of a scheduled run at which it may break off, and a day that it exports."""

from __future__ import annotations

from datetime import UTC, datetime

DAY = datetime(2026, 3, 1, tzinfo=UTC)
STEPS = [
    "claimed",
    "horizon_fixed",
    "chunk_begun",
    "files_made",
    "files_announced",
    "file_stored",
    "leftovers_removed",
    "committing",
    "chunk_committed",
]
