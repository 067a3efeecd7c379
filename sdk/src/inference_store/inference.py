"""Inferences: store, find, count, delete."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from inference_store import connection, pagination
from inference_store.batches import batches, read_results
from inference_store.binding import blocking, plan_of
from inference_store.models import (
    BaseInferenceFilter,
    BatchResult,
    Condition,
    Inference,
    NewGetInferencesRequest,
    NewInferenceAndMetadataCollection,
    NewInferenceStorageRequest,
)
from inference_store.models.queries import chosen
from inference_store.pages import Page, page_of
from inference_store.progress import Bar
from inference_store.requests import Call, Steps, at, delete, get, member, one, post
from inference_store.upload import put_bytes, upload_data


@blocking
def filter_inferences(
    model_id: str,
    request_body: NewGetInferencesRequest,
    *,
    fields: Sequence[str] = (),
) -> Call[Page[Inference]]:
    """One page of the inferences that match every filter.

    Parameters:
        model_id: the model whose inferences are asked for.
        request_body: the filters, the page and its order; 50 by age if it says nothing.
        fields: what is read from answers and inputs for each, such as ``detections``
            and ``prompt``; see ``NewGetInferencesRequest``.

    Returns:
        The inferences as a list, with the cursor of the following page as ``next``
        (None on the last). ``iter_inferences`` follows it by itself.

    Raises:
        NotFound: the model is not registered.
        ValidationError: a filter is not valid; ``errors`` says which.
        InferenceStoreError: any other failure.
    """
    return post(
        *_of(model_id),
        "filter",
        body=request_body.with_fields(fields),
        read=page_of(Inference),
        may_repeat=True,
    )


@blocking
def list_inferences(
    model_id: str,
    *,
    q: str | None = None,
    since: str | None = None,
    until: str | None = None,
    action: str | None = None,
    source: str | None = None,
    label: Sequence[str] = (),
    min_score: float | None = None,
    max_score: float | None = None,
    metadata: Sequence[str] = (),
    direction: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
    presign: bool = False,
    fields: Sequence[str] = (),
) -> Call[Page[Inference]]:
    """One page of inferences, asked for in the words of the browse page's address.

    Parameters:
        model_id: the model whose inferences are asked for.
        q: a text query.
        since: a day or time that ``created_at`` is not before.
        until: a day or time that ``created_at`` is not after.
        action: the inference action.
        source: the data source.
        label: labels of which a detection has one.
        min_score: the lowest score of that detection.
        max_score: its highest score.
        metadata: comparisons such as ``camera=north`` or ``frame:int>10``.
        direction: ``asc`` (oldest first, as when not given) or ``desc``.
        limit: inferences on the page, 50 when not given, up to 1000.
        cursor: the ``next`` of the page before.
        presign: whether rows come with links to their inputs.
        fields: what is read from answers and inputs for each, such as ``detections``
            and ``prompt``; see ``NewGetInferencesRequest``.

    Returns:
        The inferences as a list, with the cursor of the following page as ``next``.

    Raises:
        NotFound: the model is not registered.
        ValidationError: a parameter is not valid, or this store does not know it.
        InferenceStoreError: any other failure.
    """
    given = {name: value for name, value in locals().items() if name != "model_id"}
    return get(*_of(model_id), read=page_of(Inference), parameters=given)


def iter_inferences(
    model_id: str,
    request_body: NewGetInferencesRequest | None = None,
    page_size: int = 500,
    *,
    progress: bool = False,
    fields: Sequence[str] = (),
) -> Iterator[Inference]:
    """All inferences that match, fetched page by page as they are used.

    Parameters:
        model_id: the model whose inferences are asked for.
        request_body: the filters and the order; every inference by age when not given.
            The limit of its page is not used.
        page_size: how many to fetch at once, up to 1000.
        progress: whether to show a progress bar (on a terminal), which costs a count.
        fields: what is read from answers and inputs for each, such as ``detections``
            and ``prompt``; see ``NewGetInferencesRequest``.

    Returns:
        An iterator. What arrives during the walk is met if it lies ahead.

    Raises:
        NotFound: the model is not registered.
        ValidationError: a filter is not valid.
        InferenceStoreError: any other failure, while iterating.
    """
    return pagination.walk(
        connection.connected(), model_id, request_body, page_size, progress, fields
    )


@blocking
def count_inferences(model_id: str, request_body: NewGetInferencesRequest) -> Call[int]:
    """How many inferences match every filter, exactly. The page is ignored.

    Parameters:
        model_id: the model whose inferences are counted.
        request_body: the filters.

    Returns:
        The number.

    Raises:
        NotFound: the model is not registered.
        ValidationError: a filter is not valid.
        InferenceStoreError: any other failure.
    """
    return post(
        *_of(model_id),
        "count",
        body=request_body,
        read=member("count"),
        may_repeat=True,
    )


@blocking
def get_inference(
    model_id: str,
    inference_id: str,
    presign: bool = False,
    *,
    fields: Sequence[str] = (),
) -> Call[Inference | None]:
    """One inference, with what was understood of it.

    Parameters:
        model_id: its model.
        inference_id: its id.
        presign: whether it comes with a link to its input.
        fields: what is read from its answer and input; everything when not given.

    Returns:
        The inference; None if there is none.

    Raises:
        InferenceStoreError: any failure.
    """
    return get(
        *_of(model_id),
        inference_id,
        read=one(Inference),
        parameters={"presign": presign, "fields": fields},
        may_be_absent=True,
    )


@blocking
def create_inference(
    model_id: str, request_body: NewInferenceStorageRequest
) -> Call[Inference | None]:
    """Store an inference. With the same content again it is the stored one.

    Parameters:
        model_id: a registered model.
        request_body: the inference; its input is uploaded before (``upload_data``).

    Returns:
        The stored inference.

    Raises:
        NotFound: what it is written to does not exist.
        Conflict: ``inference-exists``, there is another one under this id;
            ``inference-deleted``, one of this id was deleted not long ago.
        ValidationError: something in it is not valid.
        InferenceStoreError: any other failure.
    """
    return post(
        *_of(model_id),
        body=request_body,
        read=one(Inference),
        may_repeat=True,
    )


@blocking
def create_inference_from_upload(
    model_id: str,
    inference_id: str,
    metadata_storage_key: str,
    data_storage_key: str | None = None,
    is_protected: bool = False,
) -> Call[Inference | None]:
    """Store an inference whose answer and metadata were uploaded as a file.

    Parameters:
        model_id: a registered model.
        inference_id: the id of the new inference.
        metadata_storage_key: of the grant that ``upload_inference_and_metadata`` gave.
        data_storage_key: of the grant of the input, if there is one.
        is_protected: whether retention leaves it alone.

    Returns:
        The stored inference.

    Raises:
        NotFound: what it is written to does not exist.
        Conflict: there is another one under this id, or one was deleted not long ago.
        ValidationError: something in the file is not valid.
        InferenceStoreError: any other failure.
    """
    body: dict[str, object] = {
        "model_id": model_id,
        "inference_id": inference_id,
        "metadata_storage_key": metadata_storage_key,
        "is_protected": is_protected,
    }
    if data_storage_key is not None:
        body["data_storage_key"] = data_storage_key
    return post(
        *_of(model_id),
        body=body,
        read=one(Inference),
        may_repeat=True,
    )


@blocking
def create_inference_storage_request(
    model_id: str,
    inference_id: str,
    data: str | bytes | None,
    metadata: NewInferenceAndMetadataCollection,
    is_protected: bool = False,
) -> Steps[Inference | None]:
    """Upload an input and store its inference.

    Parameters:
        model_id: a registered model.
        inference_id: the id of the new inference.
        data: the input; a text is stored in UTF-8, None is an inference without one.
        metadata: what the model answered, and the metadata.
        is_protected: whether retention leaves it alone.

    Returns:
        The stored inference.

    Raises:
        NotFound: what it is written to does not exist.
        Conflict: there is another one under this id, or one was deleted not long ago.
        ValidationError: something in it is not valid, such as the hash of the input.
        InferenceStoreError: any other failure.
    """
    key = None
    if data is not None:
        grant = yield plan_of(upload_data)(model_id)
        content = data.encode() if isinstance(data, str) else data
        yield put_bytes(grant.data_presigned_url, content, grant.headers)
        key = grant.data_storage_key
    request = NewInferenceStorageRequest(
        model_id=model_id,
        inference_id=inference_id,
        data=metadata,
        data_storage_key=key,
        is_protected=is_protected,
    )
    stored: Inference | None = yield plan_of(create_inference)(model_id, request)
    return stored


@blocking
def create_inferences(
    model_id: str,
    request_bodies: Iterable[NewInferenceStorageRequest],
    batch_size: int = 500,
    *,
    progress: bool = False,
) -> Steps[list[BatchResult]]:
    """Store many inferences, some hundred to a request.

    Parameters:
        model_id: a registered model.
        request_bodies: the inferences; read as they are sent.
        batch_size: how many go into one request, fewer if they are large.
        progress: whether to show a progress bar (on a terminal).

    Returns:
        What became of each, in order. One that is refused does not stop the others.

    Raises:
        NotFound: the model is not registered.
        InferenceStoreError: any other failure; batches before it are stored, and storing
            them again changes nothing.
    """
    results: list[BatchResult] = []
    with Bar(progress) as bar:
        for rows in batches(request_bodies, batch_size):
            results += yield Call(
                "POST",
                at(*_of(model_id), "batch"),
                read_results,
                b"".join(rows),
                headers={"Content-Type": "application/x-ndjson"},
                may_repeat=True,
            )
            bar.advance(len(rows))
    return results


@blocking
def delete_inference(model_id: str, inference_id: str) -> Call[str | None]:
    """Delete an inference with its metadata, detections, embedding and blobs, for good.

    Parameters:
        model_id: its model.
        inference_id: its id. Protected or not makes no difference.

    Returns:
        Its id; None if there is none.

    Raises:
        InferenceStoreError: any failure.
    """
    return delete(
        *_of(model_id), inference_id, read=member("inference_id"), may_be_absent=True
    )


@blocking
def bulk_delete_inferences(
    model_id: str,
    filter_: BaseInferenceFilter,
    *,
    tree: Condition | None = None,
    query: str | None = None,
) -> Call[list[str | None]]:
    """Delete every inference that matches, for good. An empty filter matches all.

    Parameters:
        model_id: the model whose inferences are deleted.
        filter_: which; protected or not makes no difference.
        tree: a filter with AND, OR and NOT that must hold as well.
        query: a text query that must hold as well.

    Returns:
        The ids of the inferences that are deleted. ``count_inferences`` says beforehand
        how many they would be.

    Raises:
        NotFound: the model is not registered.
        ValidationError: a filter is not valid, or ``too-many-matches``.
        InferenceStoreError: any other failure.
    """
    return post(
        *_of(model_id),
        "delete",
        body=chosen(filter_, tree, query) | {"dry_run": False},
        read=member("deleted_inference_ids"),
    )


def _of(model_id: str) -> tuple[str, ...]:
    return ("models", model_id, "inferences")
