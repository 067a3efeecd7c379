"""Models, as the store knows them."""

from __future__ import annotations

from datetime import datetime

from inference_store.models.base import AnswerModel, RequestModel
from inference_store.models.enums import TaskType


class NewRegisterModelRequest(RequestModel):
    """A model to register. What follows ``embedding_size`` may change at any time."""

    model_id: str
    project_id: str
    task_type: TaskType
    embedding_size: int = 0
    class_labels: list[str] | None = None
    box_format: str | None = None
    upstream_url: str | None = None
    upstream_model: str | None = None
    enable_inference_storage: bool | None = None
    strip_metadata: bool | None = None
    text_embedding_service: str | None = None


class Model(AnswerModel):
    """A registered model."""

    model_id: str
    created_at: datetime
    updated_at: datetime
    embedding_size: int
    project_id: str | None = None
    task_type: str | None = None
    class_labels: list[str] | None = None
    upstream_url: str | None = None
    enable_inference_storage: bool | None = None
    proxy_url: str | None = None
