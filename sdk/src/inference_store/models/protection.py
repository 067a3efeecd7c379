"""What is kept, and what goes for good: protection, soft deletion, erasure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from inference_store.models.base import AnswerModel, RequestModel
from inference_store.models.inferences import Inference


class ProtectionResult(AnswerModel):
    """``count`` changed, or would with ``dry_run``; ``being_removed`` came too late.

    ``input_expired`` of those protected had lost their input: the records are kept.
    """

    count: int
    being_removed: int = 0
    input_expired: int = 0
    is_protected: bool
    dry_run: bool = False


class DeletedInference(Inference):
    """A soft-deleted inference: hidden from everybody since ``deleted_at``."""

    deleted_at: datetime


class NewErasureRequest(RequestModel):
    """What to erase, as in a ``MetadataFilter`` with ``=``; ``why`` is kept for good.

    ``type`` is one of string, int, float, json.string, json.int and json.float; the key
    ``data_source`` names the source of the data.
    """

    key: str
    type: str = "string"
    value: str
    why: str = ""
    dry_run: bool = False


class Erasure(AnswerModel):
    """An erasure; ``report`` is there in parts as it goes on.

    ``value_digest`` is the SHA-256 of the salt, key, type and value, a NUL between them.
    """

    id: str
    project_id: str
    state: str
    reason: str = ""
    key: str
    type: str
    salt: str
    value_digest: str
    why: str = ""
    dry_run: bool = False
    total_count: int = 0
    erased_count: int = 0
    report: dict[str, Any]
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
