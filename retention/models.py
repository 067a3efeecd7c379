"""Tables of retention: policies, which say how long a model's inferences are kept, and tasks."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar, Self

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import DurationField, ExpressionWrapper, F, Q
from django.db.models.functions import Now

from inferences.models import RegisteredModel
from inferences.models.row_ids import EARLIEST
from istore.models import AuditEntry
from istore.tasks.tracking import ACTIVE, TrackedTask, TrackedTaskQuerySet

KEEP = -1  # as maximum_record_age: records are kept for good
HOURS_MOST = 2**31 - 1
HOUR = timedelta(hours=1)


class DeleteAction(models.TextChoices):
    """How a policy deletes records."""

    SOFT = "soft", "hide them; an administrator can restore them for a while"
    HARD = "hard", "remove them for good"


@dataclass(frozen=True, slots=True)
class Limits:
    """The two times before which data is removed: one for inputs, one for records."""

    inputs: datetime
    records: datetime

    def or_earlier(self, other: Limits) -> Limits:
        """Return the earlier of the limits: what neither of two policies would keep."""
        return Limits(min(self.inputs, other.inputs), min(self.records, other.records))


def _before(at: datetime, hours: int) -> datetime:
    return EARLIEST if hours > (at - EARLIEST) / HOUR else at - hours * HOUR


class Terms(models.Model):
    """The values of a policy, in whole hours. A task keeps a copy of those it ran with."""

    maximum_record_age = models.IntegerField(
        validators=[MinValueValidator(KEEP), MaxValueValidator(HOURS_MOST)],
        help_text="Hours that records are kept; -1 for good.",
    )
    maximum_blob_age = models.IntegerField(
        validators=[MinValueValidator(0), MaxValueValidator(HOURS_MOST)],
        help_text="Hours that inputs are kept; no more than records.",
    )
    delete_action = models.CharField(
        max_length=8, choices=DeleteAction, default=DeleteAction.SOFT
    )

    class Meta:
        abstract = True

    @property
    def keeps_records(self) -> bool:
        """Whether records are kept for good."""
        return self.maximum_record_age == KEEP

    def limits(self, at: datetime) -> Limits:
        """Return the limits at a moment. Hours are subtracted in UTC, whatever the local time."""
        records = EARLIEST
        if not self.keeps_records:
            records = _before(at, self.maximum_record_age)
        return Limits(_before(at, self.maximum_blob_age), records)


class RetentionPolicyQuerySet(models.QuerySet["RetentionPolicy"]):
    def due(self, at: datetime) -> Self:
        """Return automated policies whose interval has passed.

        A policy whose last run lies in the future is due, too. The clock was wrong then and is
        right now; otherwise the policy would wait until that time.
        """
        interval = ExpressionWrapper(
            F("automated_interval") * HOUR, output_field=DurationField()
        )
        next_at = ExpressionWrapper(
            F("last_scheduled_at") + interval, output_field=models.DateTimeField()
        )
        return self.alias(next_at=next_at).filter(
            Q(last_scheduled_at=None)
            | Q(next_at__lte=at)
            | Q(last_scheduled_at__gt=at),
            automated_interval__gt=0,
        )


class RetentionPolicy(Terms):
    """How long one model's records and inputs are kept."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    model = models.OneToOneField(
        RegisteredModel, models.CASCADE, related_name="retention_policy"
    )
    automated_interval = models.IntegerField(
        default=0,
        validators=[MinValueValidator(0), MaxValueValidator(HOURS_MOST)],
        help_text="Hours from one run to the next; 0 only when asked.",
    )
    last_scheduled_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = RetentionPolicyQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "retention policies"
        ordering = ["model__model_id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(maximum_record_age__gte=KEEP, maximum_blob_age__gte=0),
                name="retention_ages_in_range",
            ),
            models.CheckConstraint(
                condition=Q(maximum_record_age=KEEP)
                | Q(maximum_record_age__gte=F("maximum_blob_age")),
                name="retention_blobs_go_first",
            ),
            models.CheckConstraint(
                condition=Q(automated_interval__gte=0),
                name="retention_interval_in_range",
            ),
        ]

    def __str__(self) -> str:
        return f"retention of {self.model}"

    @property
    def next_at(self) -> datetime | None:
        """The time of the next automatic run; None if there is none, or the policy is due now."""
        if not self.automated_interval or self.last_scheduled_at is None:
            return None
        try:
            return self.last_scheduled_at + self.automated_interval * HOUR
        except OverflowError:
            return None


class RetentionTaskQuerySet(TrackedTaskQuerySet["RetentionTask"]):
    def newest_first(self) -> Self:
        """Return the tasks by creation, newest first."""
        return self.order_by("-created_at", "-id")


class RetentionTask(TrackedTask, Terms):
    """One run of a policy, and its report. The limits are fixed when the task is opened.

    A task outlives its policy, which it names by id without a foreign key constraint.
    """

    runner = "retention.tasks.run_retention_task"

    model = models.ForeignKey(
        RegisteredModel, models.CASCADE, related_name="retention_tasks"
    )
    policy = models.ForeignKey(
        RetentionPolicy,
        models.DO_NOTHING,
        related_name="tasks",
        db_constraint=False,
    )
    dry_run = models.BooleanField(default=False)
    requested_by = models.CharField(max_length=300, editable=False)
    by_schedule = models.BooleanField(default=False, editable=False)
    maximum_record_age_limit = models.DateTimeField()
    maximum_blob_age_limit = models.DateTimeField()
    is_whole = models.BooleanField(
        default=True, editable=False, help_text="Began at the very first inference."
    )
    counted_at = models.DateTimeField(null=True, editable=False)
    total_record_count = models.PositiveBigIntegerField(default=0)
    total_blob_count = models.PositiveBigIntegerField(default=0)
    total_bytes = models.PositiveBigIntegerField(default=0)
    protected_record_count = models.PositiveBigIntegerField(default=0)
    protected_blob_count = models.PositiveBigIntegerField(default=0)
    deleted_record_count = models.PositiveBigIntegerField(default=0)
    deleted_blob_count = models.PositiveBigIntegerField(default=0)
    deleted_bytes = models.PositiveBigIntegerField(default=0)
    # On an object store packs are rewritten without what was removed, or deleted whole.
    deleted_pack_count = models.PositiveBigIntegerField(default=0)
    rewritten_pack_count = models.PositiveBigIntegerField(default=0)
    given_back_bytes = models.PositiveBigIntegerField(default=0)
    # The batch whose intents are committed but which is not yet counted; else null.
    open_batch = models.JSONField(null=True, editable=False)

    objects: ClassVar = RetentionTaskQuerySet.as_manager()

    class Meta(TrackedTask.Meta):
        constraints = [
            models.UniqueConstraint(
                "policy",
                condition=Q(state__in=ACTIVE),
                name="retention_one_active_task",
            ),
        ]
        indexes = [
            # Serves the list of a model's tasks, in the order of creation.
            models.Index("model", "created_at", "id", name="retention_task_by_model"),
            # Serves beat, which looks for unclaimed tasks (``not_notified``).
            models.Index(
                "created_at",
                name="retention_task_active",
                condition=Q(state__in=ACTIVE),
            ),
        ]

    @property
    def fixed_limits(self) -> Limits:
        """The limits that were fixed when the task was opened."""
        return Limits(self.maximum_blob_age_limit, self.maximum_record_age_limit)

    @property
    def done(self) -> int:
        return self.deleted_record_count + self.deleted_blob_count

    @property
    def expected(self) -> int:
        return self.total_record_count + self.total_blob_count

    def audit(self, actor: object, act: str, **details: Any) -> None:
        AuditEntry.write(
            actor,
            f"retention_task.{act}",
            self.model.model_id,
            self.model.project,
            retention_task_id=str(self.pk),
            **details,
        )
