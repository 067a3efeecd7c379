"""The retention policy of a model: how long its inferences are kept."""

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
    """Give a model its retention policy.

    Parameters:
        model_id: a registered model.
        request_body: the ages and the interval, in hours.

    Returns:
        The policy.

    Raises:
        NotFound: what it is written to does not exist.
        Conflict: ``policy-exists``, the model has one.
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
    """The retention policy of a model.

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
    """Change the retention policy of a model, at once for past and future inferences.

    Parameters:
        model_id: the model.
        retention_policy_id: the policy's id.
        request_body: the new ages and interval, in hours.

    Returns:
        The policy.

    Raises:
        NotFound: what it is written to does not exist.
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
    """Take its retention policy from a model. A running task ends ``stopped``.

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
    """What a policy would remove now; nothing is written.

    Parameters:
        model_id: a registered model.
        request_body: the policy to try; the model need not have it.

    Returns:
        Counts, bytes and times of what would go, and of what stays because it is
        protected; None if the model is not registered.

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
