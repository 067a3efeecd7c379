"""Scheduled exports: new inferences are written as Parquet files, each inference once."""

from __future__ import annotations

from inference_store.binding import blocking
from inference_store.models import (
    ChangeExportScheduleRequest,
    ExportDestination,
    ExportedFile,
    ExportSchedule,
    NewExportScheduleRequest,
    ScheduledExport,
)
from inference_store.pages import Page, page_of
from inference_store.requests import Call, delete, get, member_or, one, patch, post


@blocking
def create_export_schedule(
    model_id: str, request_body: NewExportScheduleRequest
) -> Call[ExportSchedule | None]:
    """Create a schedule that exports the new inferences of a model every so many hours.

    Parameters:
        model_id: the model.
        request_body: what to export, where to and how often (hours).

    Returns:
        The schedule.

    Raises:
        NotFound: the model is not registered.
        Conflict: ``export-place-taken`` or ``export-schedule-exists``, another schedule
            of the model has that place or that name.
        ValidationError: a filter, the destination or the prefix is not valid.
        InferenceStoreError: any other failure.
    """
    return post(*_of(model_id), body=request_body, read=one(ExportSchedule))


@blocking
def list_export_schedules(model_id: str) -> Call[Page[ExportSchedule]]:
    """Return the export schedules of a model.

    Parameters:
        model_id: the model.

    Returns:
        The schedules as a list, ordered by name.

    Raises:
        NotFound: the model is not registered.
        InferenceStoreError: any other failure.
    """
    return get(*_of(model_id), read=page_of(ExportSchedule))


@blocking
def get_export_schedule(
    model_id: str, export_schedule_id: str
) -> Call[ExportSchedule | None]:
    """Return a schedule as it is now, with its lag in seconds and its last error.

    Parameters:
        model_id: the model.
        export_schedule_id: the schedule's id.

    Returns:
        The schedule; None if there is none of this id.

    Raises:
        InferenceStoreError: any failure.
    """
    return get(
        *_of(model_id),
        export_schedule_id,
        read=one(ExportSchedule),
        may_be_absent=True,
    )


@blocking
def change_export_schedule(
    model_id: str,
    export_schedule_id: str,
    request_body: ChangeExportScheduleRequest,
) -> Call[ExportSchedule | None]:
    """Change a schedule. The change applies from the next run on.

    Parameters:
        model_id: the model.
        export_schedule_id: the schedule's id.
        request_body: what to change.

    Returns:
        The schedule.

    Raises:
        NotFound: there is no such schedule.
        Conflict: ``export-schedule-exists``, another schedule has that name.
        ValidationError: a value is not valid.
        InferenceStoreError: any other failure.
    """
    return patch(
        *_of(model_id),
        export_schedule_id,
        body=request_body,
        read=one(ExportSchedule),
    )


@blocking
def delete_export_schedule(
    model_id: str, export_schedule_id: str, table: str = "keep"
) -> Call[str | None]:
    """Delete a schedule. The files that it wrote stay where they are.

    Parameters:
        model_id: the model.
        export_schedule_id: the schedule's id.
        table: ``keep``, or ``drop``: its table of the lake goes with its files.

    Returns:
        The schedule's id; None if there is none of this id.

    Raises:
        InferenceStoreError: any failure.
    """
    return delete(
        *_of(model_id),
        export_schedule_id,
        read=member_or("id", export_schedule_id),
        may_be_absent=True,
        parameters={} if table == "keep" else {"table": table},
    )


@blocking
def run_export_schedule(
    model_id: str, export_schedule_id: str
) -> Call[ScheduledExport | None]:
    """Start a run of a schedule now, without waiting until it is due.

    Parameters:
        model_id: the model.
        export_schedule_id: the schedule's id.

    Returns:
        The run. A worker carries it out; ``list_scheduled_exports`` shows its progress.

    Raises:
        NotFound: there is no such schedule.
        Conflict: ``task-already-active``, a run of this schedule has not ended.
        InferenceStoreError: any other failure.
    """
    return post(
        *_of(model_id),
        export_schedule_id,
        "run",
        body={},
        read=one(ScheduledExport),
    )


@blocking
def list_scheduled_exports(
    model_id: str, export_schedule_id: str, cursor: str | None = None
) -> Call[Page[ScheduledExport]]:
    """Return one page of the runs of a schedule, newest first.

    Parameters:
        model_id: the model.
        export_schedule_id: the schedule's id.
        cursor: the ``next`` of the page before.

    Returns:
        The runs as a list, with the cursor of the following page as ``next``.

    Raises:
        NotFound: there is no such schedule.
        InferenceStoreError: any other failure.
    """
    return get(
        *_of(model_id),
        export_schedule_id,
        "runs",
        read=page_of(ScheduledExport),
        parameters={"cursor": cursor},
    )


@blocking
def list_exported_files(
    model_id: str, export_schedule_id: str, cursor: str | None = None
) -> Call[Page[ExportedFile]]:
    """Return one page of the complete files of a schedule, newest first.

    Parameters:
        model_id: the model.
        export_schedule_id: the schedule's id.
        cursor: the ``next`` of the page before.

    Returns:
        The files as a list, with the cursor of the following page as ``next``.

    Raises:
        NotFound: there is no such schedule.
        InferenceStoreError: any other failure.
    """
    return get(
        *_of(model_id),
        export_schedule_id,
        "files",
        read=page_of(ExportedFile),
        parameters={"cursor": cursor},
    )


@blocking
def list_export_destinations() -> Call[Page[ExportDestination]]:
    """Return the destinations to which schedules of this installation may export.

    Returns:
        The destinations as a list; the first, without a name, is the default store.

    Raises:
        InferenceStoreError: any failure.
    """
    return get("export-destinations", read=page_of(ExportDestination))


def _of(model_id: str) -> tuple[str, ...]:
    return ("models", model_id, "export-schedules")
