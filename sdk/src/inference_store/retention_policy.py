"""The retention policy of a model: how long its inferences are kept. Ages are in hours."""

from __future__ import annotations

from inference_store.binding import blocking
from inference_store.models import (
    NewRetentionPolicyRequest,
    RetentionPolicy,
    RetentionPreview,
)
from inference_store.requests import Call, delete, get, member_or, one, post, put


@blocking
def create_retention_policy(
    model_id: str, request_body: NewRetentionPolicyRequest
) -> Call[RetentionPolicy | None]:
    """Create the retention policy of a model.

    Parameters:
        model_id: a registered model.
        request_body: the ages and the interval, in hours.

    Returns:
        The policy.

    Raises:
        NotFound: the model is not registered.
        Conflict: ``policy-exists``, the model has a policy already.
        ValidationError: the ages contradict each other.
        InferenceStoreError: any other failure.
    """
    return post(
        *_of(model_id),
        body=request_body,
        read=one(RetentionPolicy),
    )


@blocking
def get_retention_policy(model_id: str) -> Call[RetentionPolicy | None]:
    """Return the retention policy of a model.

    Parameters:
        model_id: the model.

    Returns:
        The policy; None if the model has none, or is not registered.

    Raises:
        InferenceStoreError: any failure.
    """
    return get(*_of(model_id), read=one(RetentionPolicy), may_be_absent=True)


@blocking
def replace_retention_policy(
    model_id: str, retention_policy_id: str, request_body: NewRetentionPolicyRequest
) -> Call[RetentionPolicy | None]:
    """Replace the retention policy of a model, for stored and future inferences at once.

    Parameters:
        model_id: the model.
        retention_policy_id: the policy's id.
        request_body: the new ages and interval, in hours.

    Returns:
        The policy.

    Raises:
        NotFound: there is no such policy.
        ValidationError: the ages contradict each other.
        InferenceStoreError: any other failure.
    """
    return put(
        *_of(model_id),
        retention_policy_id,
        body=request_body,
        read=one(RetentionPolicy),
    )


@blocking
def delete_retention_policy(
    model_id: str, retention_policy_id: str
) -> Call[str | None]:
    """Delete the retention policy of a model. A running task ends ``stopped``.

    Parameters:
        model_id: the model.
        retention_policy_id: the policy's id.

    Returns:
        The policy's id; None if there is none of this id.

    Raises:
        InferenceStoreError: any failure.
    """
    return delete(
        *_of(model_id),
        retention_policy_id,
        read=member_or("id", retention_policy_id),
        may_be_absent=True,
    )


@blocking
def preview_retention_policy(
    model_id: str, request_body: NewRetentionPolicyRequest
) -> Call[RetentionPreview | None]:
    """Return what a policy would remove now. Nothing is removed or written.

    Parameters:
        model_id: a registered model.
        request_body: the policy to try. It need not be the policy of the model.

    Returns:
        Counts, bytes and times of what would be removed, and of what is kept because it
        is protected; None if the model is not registered.

    Raises:
        ValidationError: the ages contradict each other.
        InferenceStoreError: any other failure.
    """
    return post(
        "models",
        model_id,
        "retention-preview",
        body=request_body,
        read=one(RetentionPreview),
        may_repeat=True,
        may_be_absent=True,
    )


def _of(model_id: str) -> tuple[str, ...]:
    return ("models", model_id, "retention-policy")
