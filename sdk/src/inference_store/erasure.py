"""Erasure: everything that carries a metadata value goes, with a report that proves it."""

from __future__ import annotations

from inference_store.binding import blocking
from inference_store.models import Erasure, NewErasureRequest
from inference_store.pages import Page, page_of
from inference_store.requests import Call, get, member, one, post


@blocking
def create_erasure(project_id: str, request_body: NewErasureRequest) -> Call[Erasure]:
    """Ask for the erasure of a value, over all models of a project.

    Parameters:
        project_id: the project.
        request_body: the key, type and value; with ``dry_run`` it is only counted.

    Returns:
        The task. ``get_erasure`` says how it goes on. What is protected goes, too.

    Raises:
        NotFound: there is no such project.
        PermissionDenied: this needs an administrator.
        ValidationError: the value is none of the type.
        InferenceStoreError: any other failure.
    """
    return post(*_of(project_id), body=request_body, read=one(Erasure))


@blocking
def get_erasure(project_id: str, erasure_id: str) -> Call[Erasure | None]:
    """An erasure with its report.

    Parameters:
        project_id: the project.
        erasure_id: the task's id.

    Returns:
        The task; None if there is none.

    Raises:
        PermissionDenied: this needs an administrator.
        InferenceStoreError: any other failure.
    """
    return get(*_of(project_id), erasure_id, read=one(Erasure), may_be_absent=True)


@blocking
def list_erasures(
    project_id: str, limit: int = 50, cursor: str | None = None
) -> Call[Page[Erasure]]:
    """One page of a project's erasures, newest first.

    Parameters:
        project_id: the project.
        limit: how many, up to 1000.
        cursor: the ``next`` of the page before.

    Returns:
        The tasks as a list, with the cursor of the following page as ``next``.

    Raises:
        NotFound: there is no such project.
        PermissionDenied: this needs an administrator.
        InferenceStoreError: any other failure.
    """
    given = {"limit": limit, "cursor": cursor}
    return get(*_of(project_id), read=page_of(Erasure), parameters=given)


@blocking
def stop_erasure(project_id: str, erasure_id: str) -> Call[Erasure | None]:
    """End an erasure where it is; what is erased stays erased.

    Parameters:
        project_id: the project.
        erasure_id: the task's id.

    Returns:
        The task.

    Raises:
        NotFound: what it is written to does not exist.
        PermissionDenied: this needs an administrator.
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
    """Whether an erasure removed the inference of an id that you know.

    Parameters:
        project_id: the project.
        erasure_id: the task's id.
        model_id: the model of the inference.
        inference_id: its id.

    Returns:
        Whether it was among them; None if there is no such erasure.

    Raises:
        PermissionDenied: this needs an administrator.
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
