"""Retention: policies, previews and tasks. Ages and intervals are in hours."""

from __future__ import annotations

from datetime import date, datetime

from inference_store.models.base import AnswerModel, RequestModel
from inference_store.models.enums import DeleteAction, RetentionTaskState
from inference_store.models.filters import TimeWindowFilter
from inference_store.models.queries import Pagination


class NewRetentionPolicyRequest(RequestModel):
    """A policy to create; all ages in hours.

    ``maximum_record_age`` -1 keeps records forever; with ``automated_interval`` 0 the policy
    only runs when it is started by hand.
    """

    automated_interval: int
    maximum_record_age: int
    maximum_blob_age: int
    delete_action: DeleteAction = DeleteAction.SOFT


class RetentionPolicy(AnswerModel):
    """The retention policy of a model; ages and interval in hours."""

    id: str
    model_id: str
    delete_action: str
    maximum_record_age: int
    maximum_blob_age: int
    automated_interval: int | None = None
    last_scheduled_at: datetime | None = None


class NewRetentionTaskRequest(RequestModel):
    """A run of a policy to start. With ``dry_run`` it counts, and removes nothing."""

    dry_run: bool
    retention_policy_id: str


class RetentionTask(AnswerModel):
    """One run of a policy. Its counts rise until ``state`` is final."""

    id: str
    retention_policy_id: str
    deleted_record_count: int
    deleted_blob_count: int
    total_record_count: int
    total_blob_count: int
    state: str
    maximum_record_age_limit: datetime
    maximum_blob_age_limit: datetime
    dry_run: bool = False
    reason: str = ""
    total_bytes: int = 0
    deleted_bytes: int = 0
    deleted_pack_count: int = 0
    rewritten_pack_count: int = 0
    given_back_bytes: int = 0
    protected_record_count: int = 0
    protected_blob_count: int = 0
    created_at: datetime | None = None
    finished_at: datetime | None = None


class RetentionPreviewPart(AnswerModel):
    """The number of records or inputs, with the earliest and latest time."""

    count: int
    bytes: int = 0
    oldest: datetime | None = None
    newest: datetime | None = None


class RetentionPreviewDay(AnswerModel):
    """What a policy would remove of one day."""

    day: date
    records: int
    inputs: int


class RetentionPreview(AnswerModel):
    """What a policy would remove now. If ``is_exact`` is False, counts are lower bounds."""

    maximum_record_age_limit: datetime
    maximum_blob_age_limit: datetime
    records: RetentionPreviewPart
    inputs: RetentionPreviewPart
    protected_records: RetentionPreviewPart
    protected_inputs: RetentionPreviewPart
    days: list[RetentionPreviewDay]
    is_exact: bool


class NewGetRetentionTasksRequest(RequestModel):
    """Which retention tasks to return."""

    retention_policy_id: str | None = None
    state_filter: RetentionTaskState | None = None
    time_window_filter: TimeWindowFilter | None = None
    pagination: Pagination | None = None
