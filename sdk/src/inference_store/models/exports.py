"""Export tasks: archives of inferences."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from inference_store.models.base import AnswerModel, RequestModel
from inference_store.models.enums import ExportTaskState
from inference_store.models.filters import BaseInferenceFilter, TimeWindowFilter
from inference_store.models.queries import Pagination, Question


class NewExportTaskRequest(Question):
    """An archive to write: which inferences, and in which format.

    The archive holds inferences that match or are included, minus those excluded. With
    ``only_included`` the filters are ignored. ``format`` is one of
    ``export_task.list_export_formats``, and ``container`` is zip or tar.
    """

    filters: BaseInferenceFilter = Field(default_factory=BaseInferenceFilter)
    include_inference_ids: list[str] = Field(default_factory=list)
    exclude_inference_ids: list[str] = Field(default_factory=list)
    include_inferences_as_annotations: bool = False
    include_custom_metadata: bool = False
    only_included: bool | None = None
    format: str | None = None
    container: str | None = None
    options: dict[str, str] | None = None


class ExportWarning(AnswerModel):
    """A difference between the archive and what is stored, with the number of cases."""

    code: str
    count: int
    message: str


class ExportTask(AnswerModel):
    """A task that writes one archive; ``presigned_url`` is set once it is complete.

    Then ``written_count`` plus ``skipped_count`` is ``expected_count``.
    """

    id: str
    progress_count: int
    expected_count: int
    state: str
    presigned_url: str | None = None
    reason: str | None = None
    format: str | None = None
    container: str | None = None
    rate: float | None = None
    seconds_left: float | None = None
    written_count: int | None = None
    skipped_count: int | None = None
    skipped_by_reason: dict[str, int] = Field(default_factory=dict)
    warnings: list[ExportWarning] = Field(default_factory=list)
    archive_size: int | None = None
    archive_sha256: str | None = None
    archive_expires_at: datetime | None = None
    filename: str | None = None

    @property
    def has_ended(self) -> bool:
        """Whether the task has ended: complete, failed or stopped."""
        return self.state in (
            ExportTaskState.COMPLETE,
            ExportTaskState.FAILED,
            ExportTaskState.STOPPED,
        )


class NewGetExportTasksRequest(RequestModel):
    """Which export tasks to return."""

    state_filter: ExportTaskState | None = None
    format_filter: str | None = None
    time_window_filter: TimeWindowFilter | None = None
    pagination: Pagination | None = None


class ExportFormat(AnswerModel):
    """A format of archives. ``options`` has the allowed values by name of the option."""

    name: str
    title: str
    description: str
    annotations_are_optional: bool = False
    metadata_is_optional: bool = False
    options: dict[str, list[Any]] = Field(default_factory=dict)
