"""Export tasks: archives of a selection of inferences."""

from __future__ import annotations

from inference_store.binding import blocking
from inference_store.models import (
    ExportFormat,
    ExportTask,
    NewExportTaskRequest,
    NewGetExportTasksRequest,
)
from inference_store.pages import Page, page_of
from inference_store.requests import Call, get, one, post


@blocking
def create_export_task(
    model_id: str, request_body: NewExportTaskRequest
) -> Call[ExportTask | None]:
    """Begin an archive of inferences.

    Parameters:
        model_id: the model whose inferences are exported.
        request_body: which ones, and what the archive holds about them.

    Returns:
        The task, which goes on by itself (see ``get_export_task``).

    Raises:
        NotFound: what it is written to does not exist.
        ValidationError: a filter is not valid.
        InferenceStoreError: any other failure.
    """
    return post(*_of(model_id), body=request_body, read=one(ExportTask))


@blocking
def get_export_task(model_id: str, export_task_id: str) -> Call[ExportTask | None]:
    """An export task as it is now.

    Parameters:
        model_id: the model.
        export_task_id: the task's id.

    Returns:
        The task, with ``presigned_url`` once it is complete; None if there is none of
        this id.

    Raises:
        InferenceStoreError: any failure.
    """
    return get(*_of(model_id), export_task_id, read=one(ExportTask), may_be_absent=True)


@blocking
def filter_export_tasks(
    model_id: str, request_body: NewGetExportTasksRequest | None = None
) -> Call[Page[ExportTask]]:
    """One page of a model's export tasks.

    Parameters:
        model_id: the model.
        request_body: state, format, time window and page; all when not given.

    Returns:
        The tasks as a list, with the cursor of the following page as ``next``.

    Raises:
        NotFound: the model is not registered.
        ValidationError: a filter is not valid.
        InferenceStoreError: any other failure.
    """
    return post(
        *_of(model_id),
        "filter",
        body=request_body or NewGetExportTasksRequest(),
        read=page_of(ExportTask),
        may_repeat=True,
    )


@blocking
def stop_export_task(model_id: str, export_task_id: str) -> Call[ExportTask | None]:
    """End a task where it is. Nothing is left of its archive.

    Parameters:
        model_id: the model.
        export_task_id: the task's id.

    Returns:
        The task, stopped or about to be.

    Raises:
        NotFound: what it is written to does not exist.
        Conflict: ``task-already-ended``.
        InferenceStoreError: any other failure.
    """
    return post(
        *_of(model_id),
        export_task_id,
        "stop",
        body={},
        read=one(ExportTask),
    )


@blocking
def retry_export_task(model_id: str, export_task_id: str) -> Call[ExportTask | None]:
    """Begin again with a task that failed or was stopped, with the set it had.

    Parameters:
        model_id: the model.
        export_task_id: the task's id.

    Returns:
        The task, pending.

    Raises:
        NotFound: what it is written to does not exist.
        Conflict: ``task-not-ended``.
        InferenceStoreError: any other failure.
    """
    return post(
        *_of(model_id),
        export_task_id,
        "retry",
        body={},
        read=one(ExportTask),
    )


@blocking
def list_export_formats() -> Call[Page[ExportFormat]]:
    """What an archive can be.

    Returns:
        The formats, each with its name for ``NewExportTaskRequest``.

    Raises:
        InferenceStoreError: any failure.
    """
    return get("export-formats", read=page_of(ExportFormat))


def _of(model_id: str) -> tuple[str, ...]:
    return ("models", model_id, "export-tasks")
