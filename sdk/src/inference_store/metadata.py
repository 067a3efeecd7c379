"""Metadata of inferences: read, write and count it, and make it from Python values."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from inference_store import metadata_text
from inference_store.binding import blocking
from inference_store.models import (
    BaseInferenceFilter,
    Condition,
    Metadata,
    MetadataKeyTypeCounts,
    MetadataStatistics,
    NewExtendedMetadataRequest,
    NewGetMetadataStatisticsRequest,
)
from inference_store.models.queries import selection_body
from inference_store.pages import Page, page_of
from inference_store.requests import (
    Call,
    delete,
    get,
    member,
    member_or,
    one,
    post,
    put,
)


@blocking
def create_metadata(
    model_id: str, inference_id: str, request_body: NewExtendedMetadataRequest
) -> Call[Metadata | None]:
    """Add a metadata value under a new key of an inference, and return it.

    Parameters:
        model_id: the model of the inference.
        inference_id: the id of the inference.
        request_body: key, type and value.

    Returns:
        The stored value.

    Raises:
        NotFound: there is no such model or inference.
        Conflict: ``metadata-exists``, the key has a value already. Use
            ``replace_metadata`` to change it.
        ValidationError: the value is not of its type.
        InferenceStoreError: any other failure.
    """
    return post(
        *_of(model_id, inference_id),
        body=request_body,
        read=one(Metadata),
    )


@blocking
def replace_metadata(
    model_id: str, inference_id: str, request_body: NewExtendedMetadataRequest
) -> Call[Metadata | None]:
    """Set the metadata value under a key of an inference, and return it.

    Parameters:
        model_id: the model of the inference.
        inference_id: the id of the inference.
        request_body: key, type and value.

    Returns:
        The stored value.

    Raises:
        NotFound: there is no such model or inference.
        ValidationError: the value is not of its type.
        InferenceStoreError: any other failure.
    """
    return put(
        *_of(model_id, inference_id),
        request_body.key,
        body=request_body,
        read=one(Metadata),
    )


@blocking
def bulk_add_metadata(
    model_id: str,
    filter_: BaseInferenceFilter,
    metadata: list[NewExtendedMetadataRequest],
    replace: bool = False,
    *,
    tree: Condition | None = None,
    query: str | None = None,
    exclude_inference_ids: Sequence[str] = (),
) -> Call[dict[str, int]]:
    """Set metadata of every inference that matches. An empty filter matches all.

    Parameters:
        model_id: the model whose inferences are changed.
        filter_: which inferences.
        metadata: the values, each with a different key.
        replace: whether to overwrite values that exist; they are kept by default.
        tree: a filter with AND, OR and NOT that must hold as well.
        query: a text query that must hold as well.
        exclude_inference_ids: inferences that are left as they are, although they match.

    Returns:
        For each key the number of inferences that changed.

    Raises:
        NotFound: the model is not registered.
        ValidationError: a filter or value is not valid.
        InferenceStoreError: any other failure.
    """
    body = selection_body(filter_, tree, query, exclude_inference_ids) | {
        "metadata": [item.model_dump(mode="json") for item in metadata],
        "replace": replace,
    }
    return post(
        "models", model_id, "metadata", "bulk", body=body, read=member("changed")
    )


@blocking
def get_metadata(model_id: str, inference_id: str) -> Call[Page[Metadata]]:
    """Return all metadata of an inference.

    Parameters:
        model_id: its model.
        inference_id: its id.

    Returns:
        One value per key, as a list.

    Raises:
        NotFound: there is no such inference.
        InferenceStoreError: any other failure.
    """
    return get(*_of(model_id, inference_id), read=page_of(Metadata))


@blocking
def delete_metadata(model_id: str, inference_id: str, key: str) -> Call[str | None]:
    """Delete a metadata key and its value from an inference.

    Parameters:
        model_id: the model of the inference.
        inference_id: the id of the inference.
        key: the key.

    Returns:
        The key; None if the inference did not have it.

    Raises:
        InferenceStoreError: any failure.
    """
    return delete(
        *_of(model_id, inference_id),
        key,
        read=member_or("key", key),
        may_be_absent=True,
    )


@blocking
def get_metadata_key_type_counts(model_id: str) -> Call[MetadataKeyTypeCounts | None]:
    """Return the metadata keys of a model, with the number of inferences by type.

    Parameters:
        model_id: the model.

    Returns:
        ``counts[key][type]``; None if the model is not registered.

    Raises:
        InferenceStoreError: any failure.
    """
    return get(
        "models",
        model_id,
        "metadata",
        "counts",
        read=one(MetadataKeyTypeCounts),
        may_be_absent=True,
    )


@blocking
def get_metadata_statistics(
    model_id: str, request_body: NewGetMetadataStatisticsRequest
) -> Call[MetadataStatistics | None]:
    """Return the distribution of the values of one metadata key.

    Parameters:
        model_id: the model.
        request_body: key, type, filters and bins.

    Returns:
        Count and distribution, for numbers also the smallest and largest value; None if
        the model is not registered.

    Raises:
        ValidationError: a filter is not valid, or bins have both a count and a width.
        InferenceStoreError: any other failure.
    """
    return post(
        "models",
        model_id,
        "metadata",
        "statistics",
        body=request_body,
        read=one(MetadataStatistics),
        may_repeat=True,
        may_be_absent=True,
    )


def get_data_hash(data: bytes) -> str:
    """Return the SHA-256 of an input, as the store's ``data_hash`` has it.

    Parameters:
        data: the input's bytes.

    Returns:
        64 hexadecimal digits, in lower case.
    """
    return hashlib.sha256(data).hexdigest()


def map_to_inference_store_metadata(
    data: Mapping[str, str | float | int | Mapping[str, Any]],
) -> dict[str, Any]:
    """Return Python values as metadata, with types found from the values.

    Parameters:
        data: text, number or mapping by key. ``latitude``, ``longitude`` and
            ``data_source`` are standard metadata, everything else is extended.

    Returns:
        ``{"standard_metadata": {…}, "extended_metadata": [{"key", "type", "value"}]}``:
        the standard values that were given, and the others with the type string, int,
        float or json. So ``{"frame": 12}`` becomes an item of type ``int``.

    Raises:
        ValueError: a value is a bool or None, or of another type that metadata lacks.
    """
    standard = {
        key: metadata_text.standard_value(key, value)
        for key, value in data.items()
        if key in metadata_text.STANDARD
    }
    extended = [
        metadata_text.item(key, value)
        for key, value in data.items()
        if key not in metadata_text.STANDARD
    ]
    return {"standard_metadata": standard, "extended_metadata": extended}


def form_values_for_in_operator(values: Iterable[str | float | int]) -> str | None:
    """Return the value of a metadata filter with the operator ``in``.

    Parameters:
        values: the values that the filter accepts.

    Returns:
        ``"[v1, v2]"``, with a backslash before commas, brackets and backslashes inside
        a value; None if there are no values.
    """
    return metadata_text.list_text(values)


def _of(model_id: str, inference_id: str) -> tuple[str, ...]:
    return ("models", model_id, "inferences", inference_id, "metadata")
