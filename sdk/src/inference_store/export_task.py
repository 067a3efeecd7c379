"""Export tasks: archives of a selection of inferences."""

from __future__ import annotations

from inference_store.calls import Call, get, one, post
from inference_store.models import ExportTask, NewExportTaskRequest
from inference_store.operations import blocking


@blocking
def create_export_task(
    model_id: str, request_body: NewExportTaskRequest
) -> Call[ExportTask | None]:
    """Begin an archive of inferences.

    Parameters:
        model_id: the model whose inferences are exported.
        request_body: which ones, and what the archive holds about them.

    Returns:
        The task, which goes on by itself (see ``get_export_task``); None if the model is
        not registered.

    Raises:
        ValidationError: a filter is not valid.
        InferenceStoreError: any other failure.
    """
    return post(
        *_of(model_id), body=request_body, read=one(ExportTask), may_be_absent=True
    )


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


def _of(model_id: str) -> tuple[str, ...]:
    return ("models", model_id, "export-tasks")
