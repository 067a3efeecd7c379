"""Scheduled exports: what arrives, as a tree of Parquet files."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from pydantic import Field

from inference_store.models.base import AnswerModel, RequestModel


class NewExportScheduleRequest(RequestModel):
    """A schedule to make.

    ``selection`` holds ``filters``, ``filter`` or ``query``, or nothing: everything.
    ``destination`` is one of ``export_schedule.list_export_destinations``, empty the
    default store. With ``from_beginning`` the first run takes what is stored already.
    """

    name: str
    interval_hours: int = 24
    selection: dict[str, Any] = Field(default_factory=dict)
    shape: str = "flat"
    destination: str = ""
    prefix: str = ""
    enabled: bool = True
    from_beginning: bool = False


class ChangeExportScheduleRequest(RequestModel):
    """What to change; what is not given stays."""

    name: str | None = None
    interval_hours: int | None = None
    selection: dict[str, Any] | None = None
    enabled: bool | None = None


class ExportSchedule(AnswerModel):
    """A schedule, and how far it has come.

    What arrived before ``exported_until`` is in files; ``lag_seconds`` ago that was.
    ``waiting_count`` is exact up to 10,000.
    """

    id: str
    model_id: str
    name: str
    selection: dict[str, Any]
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
    """One run: of ``arrived_count`` arrivals so many matched and are in files."""

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
    """A file that is whole. ``presigned_url`` opens it where the default store has it."""

    key: str
    date: date
    row_count: int
    size: int
    sha256: str
    committed_at: datetime
    presigned_url: str | None = None


class ExportDestination(AnswerModel):
    """A place that schedules may name; the empty name is the default store."""

    name: str
    title: str
