"""Soft-deleted inferences: retention hid them, and administrators can restore them."""

from __future__ import annotations

from collections.abc import Sequence

from inference_store.binding import blocking
from inference_store.models import BaseInferenceFilter, Condition, DeletedInference
from inference_store.models.queries import selection_body
from inference_store.pages import Page, page_of
from inference_store.requests import Call, Steps, json_object, post


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
    """Return one page of soft-deleted inferences, newest ``created_at`` first.

    Parameters:
        model_id: the model of the inferences.
        filter_: which inferences; all soft-deleted ones when not given.
        limit: inferences on the page, up to 1000.
        cursor: the ``next`` of the page before.
        tree: a filter with AND, OR and NOT that must hold as well.
        query: a text query that must hold as well.

    Returns:
        The inferences as a list, with the cursor of the following page as ``next``.

    Raises:
        NotFound: the model is not registered.
        PermissionDenied: the token is not an administrator's.
        InferenceStoreError: any other failure.
    """
    body: dict[str, object] = {"limit": limit}
    if filter_ is not None or tree is not None or query is not None:
        body |= selection_body(filter_ or BaseInferenceFilter(), tree, query)
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
    """Restore soft-deleted inferences, by their ids or all that match a filter.

    Parameters:
        model_id: the model of the inferences.
        inference_ids: ids of up to 1000 inferences, instead of a filter.
        filter_: which inferences, instead of ids. An empty filter matches every
            soft-deleted inference of the model.
        tree: a filter with AND, OR and NOT that must hold as well.
        query: a text query that must hold as well.
        dry_run: whether only to count, and to change nothing.

    Returns:
        The number of inferences restored; with ``dry_run`` the number that would be.

    Raises:
        ValueError: neither ids nor a filter is given, or both are.
        NotFound: the model is not registered.
        PermissionDenied: the token is not an administrator's.
        InferenceStoreError: any other failure. Repeat the call to continue after it.
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
    """Remove soft-deleted inferences permanently, by their ids or all that match a filter.

    Parameters:
        model_id: the model of the inferences.
        inference_ids: ids of up to 1000 inferences, instead of a filter.
        filter_: which inferences, instead of ids. An empty filter matches every
            soft-deleted inference of the model.
        tree: a filter with AND, OR and NOT that must hold as well.
        query: a text query that must hold as well.
        dry_run: whether only to count, and to change nothing.

    Returns:
        The number of inferences removed, or that would be. They cannot be restored.

    Raises:
        ValueError: neither ids nor a filter is given, or both are.
        NotFound: the model is not registered.
        PermissionDenied: the token is not an administrator's.
        InferenceStoreError: any other failure. Repeat the call to continue after it.
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
    return dict(selection_body(filter_ or BaseInferenceFilter(), tree, query))


def _until_done(
    model_id: str, act: str, which: dict[str, object], dry_run: bool
) -> Steps[int]:
    count: int = 0
    while True:
        step = yield post(
            "models",
            model_id,
            "deleted",
            act,
            body=which | {"dry_run": dry_run},
            read=json_object,
            may_repeat=True,
        )
        count += step["count"]
        if not step["more"]:
            return count
