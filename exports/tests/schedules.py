"""The steps of a scheduled run at which it may break off, and a day that it exports."""

from __future__ import annotations

from datetime import UTC, datetime

DAY = datetime(2026, 3, 1, tzinfo=UTC)
STEPS = [
    "schedules.claimed",
    "schedules.horizon_fixed",
    "schedules.chunk_begun",
    "schedules.files_made",
    "schedules.files_announced",
    "schedules.file_stored",
    "schedules.leftovers_removed",
    "schedules.committing",
    "schedules.chunk_committed",
]
