"""Protection, soft deletion and erasure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from inference_store.models.base import AnswerModel, RequestModel
from inference_store.models.inferences import Inference


class ProtectionResult(AnswerModel):
    """The result of protecting inferences.

    ``count`` were changed, or would be with ``dry_run``. ``being_removed`` were not, because
    retention is removing them. Of those protected, ``input_expired`` have lost their input,
    so only their records are kept.
    """

    count: int
    being_removed: int = 0
    input_expired: int = 0
    is_protected: bool
    dry_run: bool = False


class DeletedInference(Inference):
    """A soft-deleted inference: hidden since ``deleted_at``, except from administrators."""

    deleted_at: datetime


class NewErasureRequest(RequestModel):
    """The value to erase, as in a ``MetadataFilter`` with ``=``; ``why`` is kept permanently.

    ``type`` is one of string, int, float, json.string, json.int and json.float; the key
    ``data_source`` names the source of the data.
    """

    key: str
    type: str = "string"
    value: str
    why: str = ""
    dry_run: bool = False


class Erasure(AnswerModel):
    """An erasure task; ``report`` grows while it is carried out.

    ``value_digest`` is the SHA-256 of salt, key, type and value, joined by NUL.
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
