"""Soft-deleted inferences: what retention hid, and administrators bring back."""

from __future__ import annotations

from collections.abc import Sequence

from inference_store.binding import blocking
from inference_store.models import BaseInferenceFilter, Condition, DeletedInference
from inference_store.models.queries import chosen
from inference_store.pages import Page, page_of
from inference_store.requests import Call, Steps, document, post


@blocking
def filter_deleted_inferences(
    model_id: str,
    filter_: BaseInferenceFilter | None = None,
    limit: int = 50,
    cursor: str | None = None,
    *,
    tree: Condition | None = None,
    query: str | None = None,
) -> Call[Page[DeletedInference]]:
    """One page of soft-deleted inferences, by the time they happened, newest first.

    Parameters:
        model_id: their model.
        filter_: which; all when not given.
        limit: inferences on the page, up to 1000.
        cursor: the ``next`` of the page before.
        tree: a filter with AND, OR and NOT that must hold as well.
        query: a text query that must hold as well.

    Returns:
        The inferences as a list, with the cursor of the following page as ``next``.

    Raises:
        NotFound: the model is not registered.
        PermissionDenied: this needs an administrator.
        InferenceStoreError: any other failure.
    """
    body: dict[str, object] = {"limit": limit}
    if filter_ is not None or tree is not None or query is not None:
        body |= chosen(filter_ or BaseInferenceFilter(), tree, query)
    if cursor is not None:
        body["cursor"] = cursor
    return post(
        "models",
        model_id,
        "deleted",
        "filter",
        body=body,
        read=page_of(DeletedInference),
        may_repeat=True,
    )


@blocking
def restore_inferences(
    model_id: str,
    inference_ids: Sequence[str] | None = None,
    filter_: BaseInferenceFilter | None = None,
    *,
    tree: Condition | None = None,
    query: str | None = None,
    dry_run: bool = False,
) -> Steps[int]:
    """Bring back soft-deleted inferences: by their ids, or all that match.

    Parameters:
        model_id: their model.
        inference_ids: which, up to 1000; or else a filter.
        filter_: which; an empty filter matches all that is soft-deleted.
        tree: a filter with AND, OR and NOT that must hold as well.
        query: a text query that must hold as well.
        dry_run: whether only to count.

    Returns:
        How many came back, or would.

    Raises:
        ValueError: neither ids nor a filter, or both.
        NotFound: the model is not registered.
        PermissionDenied: this needs an administrator.
        InferenceStoreError: any other failure; the same call again goes on.
    """
    which = _which(inference_ids, filter_, tree, query)
    return (yield from _until_done(model_id, "restore", which, dry_run))


@blocking
def remove_deleted_inferences(
    model_id: str,
    inference_ids: Sequence[str] | None = None,
    filter_: BaseInferenceFilter | None = None,
    *,
    tree: Condition | None = None,
    query: str | None = None,
    dry_run: bool = False,
) -> Steps[int]:
    """Remove soft-deleted inferences for good: by their ids, or all that match.

    Parameters:
        model_id: their model.
        inference_ids: which, up to 1000; or else a filter.
        filter_: which; an empty filter matches all that is soft-deleted.
        tree: a filter with AND, OR and NOT that must hold as well.
        query: a text query that must hold as well.
        dry_run: whether only to count.

    Returns:
        How many are removed, or would be. Nobody restores them any more.

    Raises:
        ValueError: neither ids nor a filter, or both.
        NotFound: the model is not registered.
        PermissionDenied: this needs an administrator.
        InferenceStoreError: any other failure; the same call again goes on.
    """
    which = _which(inference_ids, filter_, tree, query)
    return (yield from _until_done(model_id, "remove", which, dry_run))


def _which(
    inference_ids: Sequence[str] | None,
    filter_: BaseInferenceFilter | None,
    tree: Condition | None,
    query: str | None,
) -> dict[str, object]:
    by_filter = filter_ is not None or tree is not None or query is not None
    if by_filter == (inference_ids is not None):
        raise ValueError("Say which: inference_ids, or a filter.")
    if inference_ids is not None:
        return {"inference_ids": list(inference_ids)}
    return dict(chosen(filter_ or BaseInferenceFilter(), tree, query))


def _until_done(
    model_id: str, act: str, which: dict[str, object], dry_run: bool
) -> Steps[int]:
    count: int = 0
    while True:
        told = yield post(
            "models",
            model_id,
            "deleted",
            act,
            body=which | {"dry_run": dry_run},
            read=document,
            may_repeat=True,
        )
        count += told["count"]
        if not told["more"]:
            return count
