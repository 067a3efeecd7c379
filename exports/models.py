"""Tables of export tasks, and of the sets of inferences that they export."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q

from exports.lake.models import LakeTable  # noqa: F401 a table of this app, too
from exports.schedules.models import (  # noqa: F401 tables of this app, too
    ExportedFile,
    ExportSchedule,
    ScheduledExport,
)
from inferences.models import RegisteredModel
from istore.models import AuditEntry, Project
from istore.tasks.tracking import TaskState, TrackedTask
from istore.web.filenames import file_stem

if TYPE_CHECKING:
    from exports.member_sets import MemberSet


class Container(models.TextChoices):
    """The file type of an archive."""

    ZIP = "zip"
    TAR = "tar"


CONTENT_TYPES: dict[str, str] = {
    Container.ZIP: "application/zip",
    Container.TAR: "application/x-tar",
}


class ArchiveTask(TrackedTask):
    """The base of tasks that write an archive, with the facts about that archive.

    The archive has a key from the transaction that completes the task until it expires. A
    ``member_sets.MemberSet`` decides what goes into it.
    """

    created_by = models.CharField(max_length=300)
    format = models.CharField(max_length=40)
    container = models.CharField(max_length=3, choices=Container, default=Container.ZIP)
    options = models.JSONField(default=dict, help_text="What the archive holds.")
    expected_count = models.PositiveBigIntegerField(default=0)
    progress_count = models.PositiveBigIntegerField(default=0)
    fixed_at = models.DateTimeField(null=True, help_text="When the set was written.")
    receipt = models.JSONField(
        default=dict, help_text="What was written, what was skipped and why."
    )
    archive_key = models.TextField(blank=True, help_text="Empty: there is none.")
    archive_size = models.PositiveBigIntegerField(null=True)
    archive_sha256 = models.CharField(max_length=64, blank=True)
    archive_expires_at = models.DateTimeField(null=True)
    archive_removed_reason = models.CharField(max_length=300, blank=True)

    class Meta:
        abstract = True

    @property
    def done(self) -> int:
        return self.progress_count

    @property
    def expected(self) -> int:
        return self.expected_count

    @property
    def has_archive(self) -> bool:
        return bool(self.archive_key)

    @property
    def may_retry(self) -> bool:
        return self.state in (TaskState.FAILED, TaskState.STOPPED)

    @property
    def subject(self) -> str:
        """What the archive is about, for its file name."""
        raise NotImplementedError

    @property
    def project(self) -> Project:
        raise NotImplementedError

    @property
    def prefix(self) -> str:
        """The key prefix of all objects of the task in blob storage."""
        return f"exports/{self.project.pk}/{self.folder}/{self.pk}"

    @property
    def folder(self) -> str:
        """The part of the prefix that all archives of its subject share."""
        raise NotImplementedError

    @property
    def filename(self) -> str:
        """The file name of a download."""
        name = file_stem(self.subject, "export")
        return f"{name}-{self.format}-{self.created_at:%Y%m%d-%H%M%S}.{self.container}"

    def members(self) -> MemberSet[Self]:
        """Return the member set of the archive."""
        raise NotImplementedError

    def forget_set(self) -> None:
        """Drop the fixed set, if the task keeps one: it is not read again."""


class ExportTask(ArchiveTask):
    """An archive of inferences. Its set (``parts``) is fixed when the work starts."""

    runner = "exports.tasks.run_export_task"
    resume_act = "retry"

    model = models.ForeignKey(
        RegisteredModel, models.CASCADE, related_name="export_tasks"
    )
    selection = models.JSONField(help_text="Which inferences, as it was asked.")

    class Meta:
        indexes = [
            # Serves the pages and the list of a model, newest first.
            models.Index("model", F("created_at").desc(), name="export_by_model"),
            # Serves the collector of expired archives.
            models.Index(
                "archive_expires_at",
                name="export_expiring",
                condition=~Q(archive_key=""),
            ),
        ]

    @property
    def subject(self) -> str:
        return self.model.model_id

    @property
    def project(self) -> Project:
        return self.model.project

    @property
    def folder(self) -> str:
        return str(self.model_id)

    def members(self) -> MemberSet[ExportTask]:
        from exports.member_sets import SelectedInferences  # imports this module

        return SelectedInferences()

    def audit(self, actor: object, act: str, **details: Any) -> None:
        subject = f"{self.model.model_id} {self.pk}"
        AuditEntry.write(actor, f"export.{act}", subject, self.project, **details)

    def forget_set(self) -> None:
        self.parts.all().delete()


class SetPart(models.Model):
    """Up to ``ISTORE_EXPORT_SET_PART`` members of a task's fixed set, oldest first.

    A subclass has the ``task`` they belong to, with ``parts`` as the reverse name.
    """

    task_id: UUID
    number = models.PositiveIntegerField()
    row_ids = ArrayField(models.BigIntegerField())
    # Stored with the set, because a row that was removed since has no id to report.
    inference_ids = ArrayField(models.TextField())

    class Meta:
        abstract = True
        ordering = ["task", "number"]

    def __str__(self) -> str:
        return f"part {self.number} of {self.task_id}"


class ExportPart(SetPart):
    """A part of an export task's fixed set."""

    task = models.ForeignKey(ExportTask, models.CASCADE, related_name="parts")

    class Meta(SetPart.Meta):
        constraints = [
            models.UniqueConstraint("task", "number", name="export_part_unique")
        ]
