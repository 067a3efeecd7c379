"""Retention tasks: single runs of a retention policy."""

from __future__ import annotations

from inference_store.binding import blocking
from inference_store.models import (
    NewGetRetentionTasksRequest,
    NewRetentionTaskRequest,
    RetentionTask,
)
from inference_store.pages import Page, page_of
from inference_store.requests import Call, get, one, post


@blocking
def create_retention_task(
    model_id: str, request_body: NewRetentionTaskRequest
) -> Call[RetentionTask | None]:
    """Start a task that carries out a retention policy now.

    Parameters:
        model_id: the model.
        request_body: the policy, and whether it is a dry run, which only counts.

    Returns:
        The task. A worker carries it out; ``get_retention_task`` returns its progress.

    Raises:
        NotFound: there is no such model or policy.
        Conflict: ``task-already-active``, a task of this policy has not ended.
        InferenceStoreError: any other failure.
    """
    return post(*_of(model_id), body=request_body, read=one(RetentionTask))


@blocking
def get_retention_task(
    model_id: str, retention_task_id: str
) -> Call[RetentionTask | None]:
    """Return a retention task as it is now.

    Parameters:
        model_id: the model.
        retention_task_id: the task's id.

    Returns:
        The task; None if there is none of this id.

    Raises:
        InferenceStoreError: any failure.
    """
    return get(
        *_of(model_id), retention_task_id, read=one(RetentionTask), may_be_absent=True
    )


@blocking
def filter_retention_tasks(
    model_id: str, request_body: NewGetRetentionTasksRequest
) -> Call[Page[RetentionTask]]:
    """Return one page of a model's retention tasks.

    Parameters:
        model_id: the model.
        request_body: policy, state, time window and page.

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
        body=request_body,
        read=page_of(RetentionTask),
        may_repeat=True,
    )


@blocking
def stop_retention_task(
    model_id: str, retention_task_id: str
) -> Call[RetentionTask | None]:
    """Stop a retention task. What is removed already stays removed.

    Parameters:
        model_id: the model.
        retention_task_id: the task's id.

    Returns:
        The task. It finishes its batch and then ends ``stopped``.

    Raises:
        NotFound: there is no such task.
        Conflict: ``task-not-active``, it has ended.
        InferenceStoreError: any other failure.
    """
    return _call_on_task(model_id, retention_task_id, "stop")


@blocking
def resume_retention_task(
    model_id: str, retention_task_id: str
) -> Call[RetentionTask | None]:
    """Resume a stopped or failed retention task, with its original limits.

    Parameters:
        model_id: the model.
        retention_task_id: the task's id.

    Returns:
        The task.

    Raises:
        NotFound: there is no such task.
        Conflict: ``task-not-ended``, or ``task-already-active``, another task is active.
        InferenceStoreError: any other failure.
    """
    return _call_on_task(model_id, retention_task_id, "resume")


def _call_on_task(model_id: str, task_id: str, what: str) -> Call[RetentionTask | None]:
    path = (*_of(model_id), task_id, what)
    return post(*path, body={}, read=one(RetentionTask))


def _of(model_id: str) -> tuple[str, ...]:
    return ("models", model_id, "retention-tasks")
