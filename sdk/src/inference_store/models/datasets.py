"""Datasets: named sets of inputs with annotations, in versions."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from inference_store.models.base import AnswerModel, RequestModel
from inference_store.models.enums import ExportTaskState
from inference_store.models.filters import BaseInferenceFilter
from inference_store.models.queries import Question

ENDED = (
    ExportTaskState.COMPLETE,
    ExportTaskState.FAILED,
    ExportTaskState.STOPPED,
)


class Splitting(RequestModel):
    """How entries are shared out.

    ``kind`` is ``none``; ``share``: by the input's hash; ``group``: by the value of the
    metadata ``key``, so that groups stay together; ``value``: the value names the split.
    The same ``seed`` gives the same split, whatever is added later.
    """

    kind: str
    shares: dict[str, float] | None = None
    seed: int | None = None
    key: str | None = None


class NewDatasetRequest(RequestModel):
    name: str
    description: str | None = None


class DatasetChange(RequestModel):
    """What is given changes; ``splitting`` that of the working version alone."""

    name: str | None = None
    description: str | None = None
    splitting: Splitting | None = None


class Dataset(AnswerModel):
    """``working_version`` is the one that changes; it is published as that number."""

    name: str
    project_id: str
    description: str = ""
    task_type: str = ""
    published_version: int = 0
    working_version: int = 1
    splitting: dict[str, Any] = Field(default_factory=dict)
    created_at: datetime | None = None
    updated_at: datetime | None = None


class DatasetSelection(Question):
    """Inferences that match or are included, without those that are excluded."""

    filters: BaseInferenceFilter | None = None
    include_inference_ids: list[str] | None = None
    exclude_inference_ids: list[str] | None = None
    only_included: bool | None = None


class NewAdditionRequest(RequestModel):
    """Without a selection all inferences of the model are added."""

    model_id: str
    selection: DatasetSelection | None = None
    skip_duplicates: bool = False


class _Task(AnswerModel):
    state: str

    @property
    def has_ended(self) -> bool:
        """Whether the task is complete, failed or stopped."""
        return self.state in ENDED


class DatasetAddition(_Task):
    """A task that adds. ``counts`` says what became of how many inferences."""

    id: str
    model_id: str | None = None
    reason: str | None = None
    expected_count: int = 0
    progress_count: int = 0
    counts: dict[str, int] = Field(default_factory=dict)
    rate: float | None = None
    seconds_left: float | None = None


class DatasetVersion(AnswerModel):
    """What a version holds. Under no name are entries without a split."""

    version: int
    is_published: bool
    entries: int
    note: str = ""
    inputs: int = 0
    bytes: int = 0
    without_labels: int = 0
    labels: dict[str, int] = Field(default_factory=dict)
    splits: dict[str, int] = Field(default_factory=dict)
    models: dict[str, int] = Field(default_factory=dict)
    published_at: datetime | None = None


class DatasetEntry(AnswerModel):
    """An input with its annotations, as the inference had them when it was added."""

    entry_id: int
    model_id: str
    inference_id: str
    created_at: datetime | None = None
    data_hash: str | None = None
    data_size: int | None = None
    split: str | None = None
    labels: list[str] | None = None
    ground_truth: dict[str, Any] | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    presigned_url: str | None = None


class DatasetComparison(AnswerModel):
    """What became of one version on the way to another."""

    added: int
    removed: int
    changed: int
    kept: int
    labels: dict[str, dict[str, int]] = Field(default_factory=dict)
    first_added: list[dict[str, Any]] = Field(default_factory=list)
    first_removed: list[dict[str, Any]] = Field(default_factory=list)
    first_changed: list[dict[str, Any]] = Field(default_factory=list)


class NewDatasetArchiveRequest(RequestModel):
    """``split`` writes one split alone. Annotations are the ground truth, where known."""

    format: str | None = None
    container: str | None = None
    split: str | None = None
    include_annotations: bool | None = None
    include_custom_metadata: bool | None = None
    options: dict[str, str] | None = None


class DatasetArchive(_Task):
    """A version as an archive in the making; ``presigned_url`` once it is complete."""

    id: str
    version: int
    format: str
    container: str
    split: str = ""
    reason: str | None = None
    expected_count: int = 0
    progress_count: int = 0
    written_count: int | None = None
    seconds_left: float | None = None
    presigned_url: str | None = None
    archive_size: int | None = None
    archive_sha256: str | None = None
    filename: str | None = None
