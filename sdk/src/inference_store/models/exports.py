"""Archives of inferences."""

from __future__ import annotations

from pydantic import Field

from inference_store.models.base import AnswerModel, RequestModel
from inference_store.models.filters import BaseInferenceFilter


class NewExportTaskRequest(RequestModel):
    """The inferences that match or are included, without those that are excluded."""

    filters: BaseInferenceFilter = Field(default_factory=BaseInferenceFilter)
    include_inference_ids: list[str] = Field(default_factory=list)
    exclude_inference_ids: list[str] = Field(default_factory=list)
    include_inferences_as_annotations: bool = False
    include_custom_metadata: bool = False


class ExportTask(AnswerModel):
    """One archive in the making; ``presigned_url`` is there once it is complete."""

    id: str
    progress_count: int
    expected_count: int
    state: str
    presigned_url: str | None = None
