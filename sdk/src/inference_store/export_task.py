"""Export tasks: archives of a selection of inferences.

task = export_task.create_export_task(
    "harbour-detector", models.NewExportTaskRequest(format="coco"))
while not task.has_ended:
    time.sleep(2)
    task = export_task.get_export_task("harbour-detector", task.id)
downloading.download(task, Path("harbour.zip"))
"""

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
    """Start a task that writes an archive of inferences.

    Parameters:
        model_id: the model whose inferences are exported.
        request_body: which inferences, and the format and options of the archive.

    Returns:
        The task. A worker carries it out; ``get_export_task`` returns its progress.

    Raises:
        NotFound: the model is not registered.
        ValidationError: a filter is not valid.
        InferenceStoreError: any other failure.
    """
    return post(*_of(model_id), body=request_body, read=one(ExportTask))


@blocking
def get_export_task(model_id: str, export_task_id: str) -> Call[ExportTask | None]:
    """Return an export task as it is now.

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
    """Return one page of a model's export tasks.

    Parameters:
        model_id: the model.
        request_body: state, format, time window and page; every task when not given.

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
    """Stop an export task. Nothing is left of its archive.

    Parameters:
        model_id: the model.
        export_task_id: the task's id.

    Returns:
        The task. It may still be active, and stops shortly after.

    Raises:
        NotFound: there is no such task.
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
    """Start a failed or stopped task again, with the same set of inferences.

    Parameters:
        model_id: the model.
        export_task_id: the task's id.

    Returns:
        The task, in the state pending.

    Raises:
        NotFound: there is no such task.
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
    """Return the formats that an archive can have.

    Returns:
        The formats, each with its name for ``NewExportTaskRequest``.

    Raises:
        InferenceStoreError: any failure.
    """
    return get("export-formats", read=page_of(ExportFormat))


def _of(model_id: str) -> tuple[str, ...]:
    return ("models", model_id, "export-tasks")
