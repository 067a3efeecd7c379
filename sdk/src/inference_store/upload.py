"""Places to put inputs and collections at, before an inference is created from them."""

from __future__ import annotations

from collections.abc import Mapping

from inference_store.binding import blocking
from inference_store.models import DataUpload, MetadataUpload
from inference_store.requests import Call, one, post


@blocking
def upload_data(model_id: str) -> Call[DataUpload | None]:
    """A place for the input of an inference.

    PUT the bytes to ``data_presigned_url`` (``put_upload`` does), then create the
    inference with ``data_storage_key``. A place that is not used ends by itself.

    Parameters:
        model_id: a registered model.

    Returns:
        The grant.

    Raises:
        NotFound: what it is written to does not exist.
        InferenceStoreError: any failure.
    """
    return post(
        "models",
        model_id,
        "uploads",
        "data",
        body={},
        read=one(DataUpload),
    )


@blocking
def upload_inference_and_metadata(model_id: str) -> Call[MetadataUpload | None]:
    """A place for an answer and its metadata as a file.

    PUT ``NewInferenceAndMetadataCollection.encode()`` to ``metadata_presigned_url``,
    then create the inference by ``create_inference_from_upload``.

    Parameters:
        model_id: a registered model.

    Returns:
        The grant.

    Raises:
        NotFound: what it is written to does not exist.
        InferenceStoreError: any failure.
    """
    return post(
        "models",
        model_id,
        "uploads",
        "metadata",
        body={},
        read=one(MetadataUpload),
    )


@blocking
def put_upload(grant: DataUpload | MetadataUpload, content: bytes) -> Call[None]:
    """Put bytes where a grant allows it.

    Parameters:
        grant: from ``upload_data`` or ``upload_inference_and_metadata``.
        content: the bytes.

    Raises:
        InferenceStoreError: the upload was refused, as when the grant is over.
    """
    if isinstance(grant, DataUpload):
        return put_bytes(grant.data_presigned_url, content, grant.headers)
    return put_bytes(grant.metadata_presigned_url, content, grant.headers)


def put_bytes(url: str, content: bytes, headers: Mapping[str, str]) -> Call[None]:
    """The call that puts bytes at a signed URL, which may be another host's."""
    kind = {"Content-Type": "application/octet-stream"}
    return Call(
        "PUT",
        url,
        lambda response: None,
        content,
        headers={**kind, **headers},
        is_signed=True,
    )
