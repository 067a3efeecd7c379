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
    """How the entries of a dataset are split.

    ``kind`` is one of ``none``; ``share``: by the input's hash; ``group``: by the value of
    the metadata ``key``, so that groups stay together; ``value``: that value is the name of
    the split. The same ``seed`` gives the same split, whatever is added later. ``moved`` has
    the split of what ``move_entries`` moved, by a hash; left out, it stays as it is.
    """

    kind: str
    shares: dict[str, float] | None = None
    seed: int | None = None
    key: str | None = None
    moved: dict[str, str] | None = None


class NewDatasetRequest(RequestModel):
    """A dataset to create."""

    name: str
    description: str | None = None


class DatasetChange(RequestModel):
    """Changes of a dataset: the fields that are given.

    ``splitting`` changes the working version only.
    """

    name: str | None = None
    description: str | None = None
    splitting: Splitting | None = None


class Dataset(AnswerModel):
    """A dataset. ``working_version`` is the number under which it will be published next."""

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
    """A selection: inferences that match or are included, minus those that are excluded."""

    filters: BaseInferenceFilter | None = None
    include_inference_ids: list[str] | None = None
    exclude_inference_ids: list[str] | None = None
    only_included: bool | None = None


class NewAdditionRequest(RequestModel):
    """Inferences to add to a dataset; without a selection all of the model."""

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
    """An addition task. ``counts`` has the number of inferences by outcome."""

    id: str
    model_id: str | None = None
    reason: str | None = None
    expected_count: int = 0
    progress_count: int = 0
    counts: dict[str, int] = Field(default_factory=dict)
    rate: float | None = None
    seconds_left: float | None = None


class DatasetVersion(AnswerModel):
    """A version and its counts. In ``splits`` the empty name counts entries without a split."""

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


class DatasetDistribution(AnswerModel):
    """How many entries there are by split, and by label and split.

    ``answers`` counts what the model said and ``truths`` the ground truth; an entry counts once
    for a label. The empty name has entries without a split.
    """

    entries: dict[str, int] = Field(default_factory=dict)
    answers: dict[str, dict[str, int]] = Field(default_factory=dict)
    truths: dict[str, dict[str, int]] = Field(default_factory=dict)


class DuplicateEntry(AnswerModel):
    """An entry of a dataset that has the input of another one."""

    entry_id: int
    dataset: str
    model_id: str
    inference_id: str
    has_ground_truth: bool = False


class DuplicateGroup(AnswerModel):
    """Entries of the same input, or of inputs that are nearly equal.

    ``entries`` are the first of ``count``, those with ground truth before others.
    ``elsewhere`` has entries of other datasets.
    """

    count: int
    entries: list[DuplicateEntry] = Field(default_factory=list)
    elsewhere: list[DuplicateEntry] = Field(default_factory=list)
    data_hash: str = ""
    distance: float | None = None


class DatasetComparison(AnswerModel):
    """The differences between two versions; ``first_…`` list the first entries of each kind."""

    added: int
    removed: int
    changed: int
    kept: int
    labels: dict[str, dict[str, int]] = Field(default_factory=dict)
    first_added: list[dict[str, Any]] = Field(default_factory=list)
    first_removed: list[dict[str, Any]] = Field(default_factory=list)
    first_changed: list[dict[str, Any]] = Field(default_factory=list)


class NewDatasetArchiveRequest(RequestModel):
    """An archive to write. ``split`` limits it to one split.

    The annotation of an entry is its ground truth if it has one, else the answer.
    """

    format: str | None = None
    container: str | None = None
    split: str | None = None
    include_annotations: bool | None = None
    include_custom_metadata: bool | None = None
    options: dict[str, str] | None = None


class DatasetArchive(_Task):
    """A task that writes a version as an archive; ``presigned_url`` is set once it is complete."""

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
