"""Protection: what retention leaves alone, and why."""

from __future__ import annotations

import warnings

import httpx2

from inference_store.binding import blocking
from inference_store.models import BaseInferenceFilter, Condition, ProtectionResult
from inference_store.models.queries import chosen
from inference_store.requests import Call, Steps, document, post, put


class InputExpiredWarning(UserWarning):
    """What is protected had lost its input before."""


@blocking
def protect_inference(
    model_id: str, inference_id: str, reason: str = "", is_protected: bool = True
) -> Call[bool | None]:
    """Protect an inference from retention, or no longer.

    Parameters:
        model_id: its model.
        inference_id: its id.
        reason: why; kept in the audit log for good.
        is_protected: False takes the protection back.

    Returns:
        Whether it is protected now. An ``InputExpiredWarning`` says that its input was
        gone before: the record is kept.

    Raises:
        NotFound: what it is written to does not exist.
        Conflict: ``being-removed``, retention was first.
        InferenceStoreError: any other failure.
    """
    return put(
        "models",
        model_id,
        "inferences",
        inference_id,
        "protection",
        body={"is_protected": is_protected, "reason": reason},
        read=_is_protected,
    )


def _is_protected(response: httpx2.Response) -> bool:
    told = document(response)
    is_protected = bool(told["is_protected"])
    if is_protected and (at := told.get("input_expired_at")):
        message = f"The input of {told['inference_id']} expired at {at}: the record alone is kept."
        warnings.warn(message, InputExpiredWarning, stacklevel=2)
    return is_protected


@blocking
def protect_inferences(
    model_id: str,
    filter_: BaseInferenceFilter,
    reason: str = "",
    is_protected: bool = True,
    *,
    tree: Condition | None = None,
    query: str | None = None,
    dry_run: bool = False,
) -> Steps[ProtectionResult]:
    """Protect every inference that matches, or no longer. An empty filter matches all.

    Parameters:
        model_id: their model.
        filter_: which.
        reason: why; kept in the audit log for good.
        is_protected: False takes the protection back.
        tree: a filter with AND, OR and NOT that must hold as well.
        query: a text query that must hold as well.
        dry_run: whether only to count.

    Returns:
        How many changed, and how many are being removed already and stay as they are.

    Raises:
        NotFound: the model is not registered.
        ValidationError: a filter is not valid.
        InferenceStoreError: any other failure; the same call again goes on.
    """
    body = chosen(filter_, tree, query) | {
        "is_protected": is_protected,
        "reason": reason,
        "dry_run": dry_run,
    }
    count = being_removed = expired = 0
    while True:
        told = yield post(
            "models",
            model_id,
            "inferences",
            "protection",
            body=body,
            read=document,
            may_repeat=True,
        )
        count += told["count"]
        being_removed = max(being_removed, told["being_removed"])
        expired += told.get("input_expired", 0)
        if not told["more"]:
            return ProtectionResult(
                count=count,
                being_removed=being_removed,
                input_expired=expired,
                is_protected=is_protected,
                dry_run=dry_run,
            )
