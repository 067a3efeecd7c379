"""Grants to upload bytes to a presigned URL."""

from __future__ import annotations

from pydantic import Field

from inference_store.models.base import AnswerModel


class DataUpload(AnswerModel):
    """The URL to PUT an input to, and the storage key to create an inference with.

    ``headers`` must be sent with the PUT if the URL is signed for them.
    """

    data_presigned_url: str
    data_storage_key: str
    headers: dict[str, str] = Field(default_factory=dict)


class MetadataUpload(AnswerModel):
    """The URL to PUT the bytes of ``NewInferenceAndMetadataCollection.encode()`` to."""

    metadata_presigned_url: str
    metadata_storage_key: str
    headers: dict[str, str] = Field(default_factory=dict)
