"""Protection: keep inferences from retention, with a reason in the audit log."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import httpx2

from inference_store.binding import blocking
from inference_store.models import BaseInferenceFilter, Condition, ProtectionResult
from inference_store.models.queries import selection_body
from inference_store.requests import Call, Steps, json_object, post, put


class InputExpiredWarning(UserWarning):
    """The inference was protected after retention had removed its input."""


@blocking
def protect_inference(
    model_id: str, inference_id: str, reason: str = "", is_protected: bool = True
) -> Call[bool | None]:
    """Protect an inference from retention, or end its protection.

    Parameters:
        model_id: the model of the inference.
        inference_id: the id of the inference.
        reason: the reason, which stays in the audit log permanently.
        is_protected: False ends the protection.

    Returns:
        Whether it is protected now. An ``InputExpiredWarning`` is issued if its input
        was removed before: then only the record is kept.

    Raises:
        NotFound: there is no such model or inference.
        Conflict: ``being-removed``, retention is removing it already.
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
    body = json_object(response)
    is_protected = bool(body["is_protected"])
    if is_protected and (at := body.get("input_expired_at")):
        message = f"The input of {body['inference_id']} expired at {at}: only the record is kept."
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
    exclude_inference_ids: Sequence[str] = (),
    dry_run: bool = False,
) -> Steps[ProtectionResult]:
    """Protect every inference that matches, or end its protection.

    Parameters:
        model_id: the model of the inferences.
        filter_: which inferences; an empty filter matches all.
        reason: the reason, which stays in the audit log permanently.
        is_protected: False ends the protection.
        tree: a filter with AND, OR and NOT that must hold as well.
        query: a text query that must hold as well.
        exclude_inference_ids: inferences that are left as they are, although they match.
        dry_run: whether only to count, and to change nothing.

    Returns:
        The number that changed, and the number that retention is removing already, whose
        protection does not change.

    Raises:
        NotFound: the model is not registered.
        ValidationError: a filter is not valid.
        InferenceStoreError: any other failure. Repeat the call to continue after it.
    """
    body = selection_body(filter_, tree, query, exclude_inference_ids) | {
        "is_protected": is_protected,
        "reason": reason,
        "dry_run": dry_run,
    }
    count = being_removed = expired = 0
    while True:
        step = yield post(
            "models",
            model_id,
            "inferences",
            "protection",
            body=body,
            read=json_object,
            may_repeat=True,
        )
        count += step["count"]
        being_removed = max(being_removed, step["being_removed"])
        expired += step.get("input_expired", 0)
        if not step["more"]:
            return ProtectionResult(
                count=count,
                being_removed=being_removed,
                input_expired=expired,
                is_protected=is_protected,
                dry_run=dry_run,
            )
