"""Inferences: store, find, count and delete them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from inference_store.batches import batches, read_results
from inference_store.binding import blocking, iterating, plan_of
from inference_store.models import (
    BaseInferenceFilter,
    BatchResult,
    Condition,
    DeleteAction,
    Inference,
    NewGetInferencesRequest,
    NewInferenceAndMetadataCollection,
    NewInferenceStorageRequest,
)
from inference_store.models.queries import selection_body
from inference_store.pages import Page, page_of
from inference_store.pagination import Pages
from inference_store.progress import Bar
from inference_store.requests import (
    Call,
    Plan,
    Steps,
    at,
    delete,
    get,
    member,
    one,
    post,
)
from inference_store.upload import put_upload, upload_data


@blocking
def filter_inferences(
    model_id: str,
    request_body: NewGetInferencesRequest,
    *,
    fields: Sequence[str] = (),
) -> Call[Page[Inference]]:
    """Return one page of the inferences that match every filter.

        page = inference.filter_inferences("harbour-detector", models.NewGetInferencesRequest(
            query="label:ship score<0.4",
            pagination=models.Pagination(limit=5, direction="desc")))

    Parameters:
        model_id: the model whose inferences are returned.
        request_body: the filters, the page and its order; the default is 50, oldest first.
        fields: the fields to read from answers and inputs, such as ``detections`` and
            ``prompt``; see ``NewGetInferencesRequest``.

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
    said: str | None = None,
    prompt: str | None = None,
    answer: str | None = None,
    direction: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
    presign: bool = False,
    fields: Sequence[str] = (),
) -> Call[Page[Inference]]:
    """Return one page of inferences, by the URL parameters of the browse page.

    Parameters:
        model_id: the model whose inferences are returned.
        q: a text query, such as ``label:ship score<0.4``.
        since: the earliest ``created_at``, a day or a time.
        until: the latest ``created_at``, a day or a time.
        action: the inference action.
        source: the data source.
        label: labels; one detection has one of them.
        min_score: the lowest score of that detection.
        max_score: the highest score of that detection.
        metadata: comparisons such as ``camera=north`` or ``frame:int>10``.
        said: words of the prompt or the answer, such as ``error "wet paint" warn* -timeout``.
        prompt: words of the prompt.
        answer: words of the answer.
        direction: ``asc`` (oldest first, the default) or ``desc``.
        limit: inferences on the page, 50 when not given, up to 1000.
        cursor: the ``next`` of the page before.
        presign: whether each inference has a presigned URL of its input.
        fields: the fields to read from answers and inputs, such as ``detections`` and
            ``prompt``; see ``NewGetInferencesRequest``.

    Returns:
        The inferences as a list, with the cursor of the following page as ``next``.

    Raises:
        NotFound: the model is not registered.
        ValidationError: a parameter is not valid, or this store does not know it.
        InferenceStoreError: any other failure.
    """
    given = {name: value for name, value in locals().items() if name != "model_id"}
    return get(*_of(model_id), read=page_of(Inference), parameters=given)


@iterating
def iter_inferences(
    model_id: str,
    request_body: NewGetInferencesRequest | None = None,
    page_size: int = 500,
    *,
    progress: bool = False,
    fields: Sequence[str] = (),
) -> Pages[Inference]:
    """Return an iterator over all inferences that match, fetched page by page as needed.

    Parameters:
        model_id: the model whose inferences are returned.
        request_body: the filters and the order; every inference, oldest first, when not
            given. The limit of its page is ignored.
        page_size: how many to fetch in one request, up to 1000.
        progress: whether to show a progress bar (on a terminal). It needs a count first.
        fields: the fields to read from answers and inputs, such as ``detections`` and
            ``prompt``; see ``NewGetInferencesRequest``.

    Returns:
        An iterator. An inference that is stored meanwhile is included if its place in
        the order has not been passed.

    Raises:
        NotFound: the model is not registered.
        ValidationError: a filter is not valid.
        InferenceStoreError: any other failure, while iterating.
    """
    request = (request_body or NewGetInferencesRequest()).with_page(limit=page_size)

    def page(cursor: str | None) -> Plan[Page[Inference]]:
        here = request.with_page(cursor=cursor, offset=None) if cursor else request
        return plan_of(filter_inferences)(model_id, here, fields=fields)

    count = plan_of(count_inferences)(model_id, request) if progress else None
    return Pages(page, count)


@blocking
def count_inferences(model_id: str, request_body: NewGetInferencesRequest) -> Call[int]:
    """Return exactly how many inferences match every filter. The page is ignored.

    Parameters:
        model_id: the model whose inferences are counted.
        request_body: the filters.

    Returns:
        The number of inferences.

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
    """Return one inference, with the fields read from its answer and input.

    Parameters:
        model_id: the model of the inference.
        inference_id: the id of the inference.
        presign: whether it has a presigned URL of its input.
        fields: the fields to read from its answer and input; all when not given.

    Returns:
        The inference; None if there is none of this id.

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
    """Store an inference, and return it. Storing the same content again is safe.

    Parameters:
        model_id: a registered model.
        request_body: the inference. Upload its input before (``upload_data``).

    Returns:
        The stored inference; the one stored before if it has the same content.

    Raises:
        NotFound: the model is not registered.
        Conflict: ``inference-exists``, this id has an inference with other content;
            ``inference-deleted``, an inference of this id was deleted recently.
        ValidationError: something in it is not valid; ``errors`` says what.
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
    """Store an inference whose answer and metadata were uploaded as a file, and return it.

    Parameters:
        model_id: a registered model.
        inference_id: the id of the new inference.
        metadata_storage_key: the key from ``upload_inference_and_metadata``.
        data_storage_key: the key from ``upload_data``, if there is an input.
        is_protected: whether retention keeps it.

    Returns:
        The stored inference.

    Raises:
        NotFound: the model is not registered.
        Conflict: the id has another inference, or one of this id was deleted recently.
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
    """Upload an input, store its inference, and return the inference.

        picture = Path("quay.png").read_bytes()
        standard = models.NewStandardMetadataRequest(
            data_hash=metadata.get_data_hash(picture), data_size=len(picture),
            task_type="Object Detection", inference_action="detect")
        box = {"label": "ship", "score": 0.9, "xmin": 4, "ymin": 8, "xmax": 60, "ymax": 40}
        inference.create_inference_storage_request(
            "harbour-detector", "frame-12", picture, models.NewInferenceAndMetadataCollection(
                object_detection=[box],
                metadata=models.NewMetadataCollectionRequest(standard_metadata=standard)))

    Parameters:
        model_id: a registered model.
        inference_id: the id of the new inference.
        data: the input. A text is stored in UTF-8; None is an inference without input.
        metadata: the model's answer, and the metadata.
        is_protected: whether retention keeps it.

    Returns:
        The stored inference.

    Raises:
        NotFound: the model is not registered.
        Conflict: the id has another inference, or one of this id was deleted recently.
        ValidationError: something in it is not valid, such as the hash of the input.
        InferenceStoreError: any other failure.
    """
    key = None
    if data is not None:
        grant = yield plan_of(upload_data)(model_id)
        content = data.encode() if isinstance(data, str) else data
        yield plan_of(put_upload)(grant, content)
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
    """Store many inferences, some hundred in each request.

    Parameters:
        model_id: a registered model.
        request_bodies: the inferences. The iterable is read as it is sent, so it may be
            a generator.
        batch_size: the most inferences in one request; fewer if they are large.
        progress: whether to show a progress bar (on a terminal).

    Returns:
        One result for each inference, in order. One that is refused does not stop the
        others.

    Raises:
        NotFound: the model is not registered.
        InferenceStoreError: any other failure. Batches before it are stored; repeating
            the call with the same inferences is safe.
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
    """Permanently delete an inference with its metadata, detections, embedding and blobs.

    Parameters:
        model_id: the model of the inference.
        inference_id: the id of the inference. It is deleted even if it is protected.

    Returns:
        Its id; None if there is no such inference.

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
    exclude_inference_ids: Sequence[str] = (),
    delete_action: DeleteAction = DeleteAction.HARD,
) -> Call[list[str | None]]:
    """Delete every inference that matches, permanently by default. An empty filter matches all.

    Parameters:
        model_id: the model whose inferences are deleted.
        filter_: which inferences. They are deleted even if they are protected.
        tree: a filter with AND, OR and NOT that must hold as well.
        query: a text query that must hold as well.
        exclude_inference_ids: inferences that are left as they are, although they match.
        delete_action: ``DeleteAction.SOFT`` hides them, and an administrator can restore them.

    Returns:
        The ids of the deleted inferences. ``count_inferences`` returns beforehand how
        many there are.

    Raises:
        NotFound: the model is not registered.
        ValidationError: a filter is not valid, or ``too-many-matches``.
        InferenceStoreError: any other failure.
    """
    body = selection_body(filter_, tree, query, exclude_inference_ids)
    body |= {"dry_run": False}
    if delete_action != DeleteAction.HARD:
        body["delete_action"] = str(delete_action)
    return post(
        *_of(model_id),
        "delete",
        body=body,
        read=member("deleted_inference_ids"),
    )


def _of(model_id: str) -> tuple[str, ...]:
    return ("models", model_id, "inferences")
