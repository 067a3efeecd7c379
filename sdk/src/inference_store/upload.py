"""Uploads: get a presigned URL, PUT the bytes there, then create the inference.

Three calls: ``upload_data``, ``put_upload`` and ``inference.create_inference``.
``inference.create_inference_storage_request`` does all of them at once.
"""

from __future__ import annotations

from inference_store.binding import blocking
from inference_store.models import DataUpload, MetadataUpload
from inference_store.requests import Call, one, post


@blocking
def upload_data(model_id: str) -> Call[DataUpload | None]:
    """Return a presigned URL for the input of an inference.

    PUT the bytes to ``data_presigned_url`` (``put_upload`` does), then create the
    inference with ``data_storage_key``. A grant that is not used expires.

    Parameters:
        model_id: a registered model.

    Returns:
        The grant: the URL, and the storage key that creating the inference names.

    Raises:
        NotFound: the model is not registered.
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
    """Return a presigned URL for an answer and its metadata as a file.

    PUT ``NewInferenceAndMetadataCollection.encode()`` to ``metadata_presigned_url``,
    then create the inference by ``create_inference_from_upload``.

    Parameters:
        model_id: a registered model.

    Returns:
        The grant: the URL, and the storage key that creating the inference names.

    Raises:
        NotFound: the model is not registered.
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
    """Upload bytes to the URL of a grant.

    Parameters:
        grant: from ``upload_data`` or ``upload_inference_and_metadata``.
        content: the bytes.

    Raises:
        InferenceStoreError: the upload was refused, for example because the grant expired.
    """
    if isinstance(grant, DataUpload):
        url = grant.data_presigned_url
    else:
        url = grant.metadata_presigned_url
    # The URL is signed, and may be on another host.
    return Call(
        "PUT",
        url,
        lambda response: None,
        content,
        headers={"Content-Type": "application/octet-stream", **grant.headers},
        is_signed=True,
    )
