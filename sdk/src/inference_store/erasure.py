"""Erasure: remove everything that carries a metadata value, with a report as proof."""

from __future__ import annotations

from inference_store.binding import blocking
from inference_store.models import Erasure, NewErasureRequest
from inference_store.pages import Page, page_of
from inference_store.requests import Call, get, member, one, post


@blocking
def create_erasure(project_id: str, request_body: NewErasureRequest) -> Call[Erasure]:
    """Start the erasure of a value in all models of a project.

    Parameters:
        project_id: the project.
        request_body: the key, type and value. With ``dry_run`` matches are only counted.

    Returns:
        The task; ``get_erasure`` returns its progress. Protected inferences are
        removed, too.

    Raises:
        NotFound: there is no such project.
        PermissionDenied: the token is not an administrator's.
        ValidationError: the value is not of the type.
        InferenceStoreError: any other failure.
    """
    return post(*_of(project_id), body=request_body, read=one(Erasure))


@blocking
def get_erasure(project_id: str, erasure_id: str) -> Call[Erasure | None]:
    """Return an erasure with its report.

    Parameters:
        project_id: the project.
        erasure_id: the task's id.

    Returns:
        The task; None if there is none of this id.

    Raises:
        PermissionDenied: the token is not an administrator's.
        InferenceStoreError: any other failure.
    """
    return get(*_of(project_id), erasure_id, read=one(Erasure), may_be_absent=True)


@blocking
def list_erasures(
    project_id: str, limit: int = 50, cursor: str | None = None
) -> Call[Page[Erasure]]:
    """Return one page of a project's erasures, newest first.

    Parameters:
        project_id: the project.
        limit: erasures on the page, up to 1000.
        cursor: the ``next`` of the page before.

    Returns:
        The tasks as a list, with the cursor of the following page as ``next``.

    Raises:
        NotFound: there is no such project.
        PermissionDenied: the token is not an administrator's.
        InferenceStoreError: any other failure.
    """
    given = {"limit": limit, "cursor": cursor}
    return get(*_of(project_id), read=page_of(Erasure), parameters=given)


@blocking
def stop_erasure(project_id: str, erasure_id: str) -> Call[Erasure | None]:
    """Stop an erasure. What is erased already stays erased.

    Parameters:
        project_id: the project.
        erasure_id: the task's id.

    Returns:
        The task.

    Raises:
        NotFound: there is no such erasure.
        PermissionDenied: the token is not an administrator's.
        InferenceStoreError: any other failure.
    """
    return post(
        *_of(project_id),
        erasure_id,
        "stop",
        body={},
        read=one(Erasure),
        may_repeat=True,
    )


@blocking
def was_erased(
    project_id: str, erasure_id: str, model_id: str, inference_id: str
) -> Call[bool | None]:
    """Return whether an erasure removed the inference with this id.

    Parameters:
        project_id: the project.
        erasure_id: the task's id.
        model_id: the model of the inference.
        inference_id: its id.

    Returns:
        Whether the inference was removed by it; None if there is no such erasure.

    Raises:
        PermissionDenied: the token is not an administrator's.
        InferenceStoreError: any other failure.
    """
    return post(
        *_of(project_id),
        erasure_id,
        "included",
        body={"model_id": model_id, "inference_id": inference_id},
        read=member("included"),
        may_repeat=True,
        may_be_absent=True,
    )


def _of(project_id: str) -> tuple[str, ...]:
    return ("projects", project_id, "erasures")
