"""Scheduled exports: new inferences, as a tree of Parquet files."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from pydantic import Field

from inference_store.models.base import AnswerModel, RequestModel


class NewExportScheduleRequest(RequestModel):
    """A schedule to create.

    ``selection`` holds ``filters``, ``filter`` or ``query``; empty selects everything.
    ``format`` is ``parquet`` or ``iceberg``, a table of the lake; ``keeps_removed`` says whether
    its rows stay when the store removes their records. ``destination`` is one of ``export_schedule.list_export_destinations``; empty is the
    default store. With ``from_beginning`` the first run exports what is stored already.
    """

    name: str
    interval_hours: int = 24
    selection: dict[str, Any] = Field(default_factory=dict)
    format: str = "parquet"
    shape: str = "flat"
    destination: str = ""
    prefix: str = ""
    enabled: bool = True
    keeps_removed: bool = True
    from_beginning: bool = False


class ChangeExportScheduleRequest(RequestModel):
    """Changes of a schedule: the fields that are given; others stay as they are."""

    name: str | None = None
    interval_hours: int | None = None
    selection: dict[str, Any] | None = None
    enabled: bool | None = None
    keeps_removed: bool | None = None


class ExportSchedule(AnswerModel):
    """A schedule and its progress.

    Inferences that arrived before ``exported_until`` are in files; ``lag_seconds`` is its
    age. ``waiting_count`` is exact up to 10,000.
    """

    id: str
    model_id: str
    name: str
    selection: dict[str, Any]
    format: str = "parquet"
    keeps_removed: bool = True
    table: str | None = None
    shape: str
    interval_hours: int
    destination: str
    prefix: str
    enabled: bool
    exported_until: datetime | None = None
    lag_seconds: float | None = None
    waiting_count: int = 0
    waiting_is_exact: bool = True
    last_error: str | None = None
    last_error_at: datetime | None = None
    row_count: int = 0
    file_count: int = 0
    last_scheduled_at: datetime | None = None
    next_at: datetime | None = None
    created_by: str = ""
    created_at: datetime | None = None
    updated_at: datetime | None = None


class ScheduledExport(AnswerModel):
    """One run of a schedule: of ``arrived_count`` arrivals those that matched are in files."""

    id: str
    state: str
    reason: str | None = None
    arrived_count: int = 0
    passed_count: int = 0
    inference_count: int = 0
    row_count: int = 0
    file_count: int = 0
    left_out: dict[str, int] = Field(default_factory=dict)
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None


class ExportedFile(AnswerModel):
    """A complete file. ``presigned_url`` opens it if it is in the default store."""

    key: str
    date: date
    row_count: int
    size: int
    sha256: str
    committed_at: datetime
    presigned_url: str | None = None


class ExportDestination(AnswerModel):
    """A destination of schedules; the one with an empty name is the default store."""

    name: str
    title: str
