"""Places to put bytes at."""

from __future__ import annotations

from pydantic import Field

from inference_store.models.base import AnswerModel


class DataUpload(AnswerModel):
    """Where to PUT an input, and the key that creating an inference names.

    ``headers`` are what the PUT must carry, where the link is signed for them.
    """

    data_presigned_url: str
    data_storage_key: str
    headers: dict[str, str] = Field(default_factory=dict)


class MetadataUpload(AnswerModel):
    """Where to PUT the bytes of ``NewInferenceAndMetadataCollection.encode()``."""

    metadata_presigned_url: str
    metadata_storage_key: str
    headers: dict[str, str] = Field(default_factory=dict)
