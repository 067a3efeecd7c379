"""Datasets: named sets of inputs with annotations, in versions that do not change.

An entry is a copy: it does not change when its inference is changed or removed. It belongs
to the versions from ``first_version`` up to but not including ``gone_version``. The
working version is the one after the last published version, and the only one that
changes. Datasets of a project share inputs: a blob is kept as long as an entry of any of
them needs it.
"""

from __future__ import annotations

from typing import Any, Self

from django.contrib.postgres.fields import ArrayField
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from datasets.split_sql import split_expression
from datasets.splitting import Splitting
from exports.member_sets import MemberSet
from exports.models import ArchiveTask, SetPart
from inferences.models import InferenceAction, RegisteredModel
from istore.accounts.access import Caller
from istore.models import AuditEntry, Project, Role
from istore.tasks.tracking import TrackedTask

NAME = RegexValidator(
    r"^(?!\.{1,2}\Z)[^\x00-\x1f\x7f-\x9f/]{1,255}\Z",
    "One to 255 characters, none a control character or a slash.",
)
DESCRIPTION_MAX = 10_000


class DatasetQuerySet(models.QuerySet["Dataset"]):
    def visible_to(self, caller: Caller, role: Role = Role.VIEWER) -> Self:
        return self.live().filter(project__in=caller.visible_projects(role))

    def live(self) -> Self:
        """Return the datasets that are not being deleted."""
        return self.filter(deleted_at=None)


class Dataset(models.Model):
    """A dataset: a name in a project, under which versions are published."""

    project = models.ForeignKey(Project, models.PROTECT, related_name="datasets")
    name = models.CharField(max_length=255, validators=[NAME])
    description = models.TextField(blank=True)
    task_type = models.CharField(
        max_length=40,
        blank=True,
        help_text="That of the first model it has entries of.",
    )
    published = models.PositiveIntegerField(
        default=0, editable=False, help_text="The number of the last version."
    )
    splitting = models.JSONField(default=dict, help_text="Of the working version.")
    created_by = models.CharField(max_length=300, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)
    deleted_at = models.DateTimeField(
        null=True, editable=False, help_text="From then on hidden; its entries go."
    )

    objects = DatasetQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                "project", "name", condition=Q(deleted_at=None), name="dataset_name"
            )
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def working(self) -> int:
        """The number of the working version."""
        return self.published + 1

    def entries_of(self, version: int) -> DatasetEntryQuerySet:
        """Return the entries of a version."""
        return self.entries.of_version(version)

    def splitting_of(self, version: int) -> Splitting:
        """Return the splitting of a version; that of a published one is as it was published."""
        if version == self.working:
            return Splitting.from_json(self.splitting)
        return Splitting.from_json(self.versions.get(number=version).splitting)


class DatasetVersion(models.Model):
    """A published version, with the counts of that moment."""

    dataset = models.ForeignKey(Dataset, models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    note = models.TextField(blank=True)
    splitting = models.JSONField(default=dict)
    summary = models.JSONField(default=dict)
    published_by = models.CharField(max_length=300)
    published_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint("dataset", "number", name="dataset_version_once")
        ]

    def __str__(self) -> str:
        return f"{self.dataset} {self.number}"

    @property
    def told(self) -> dict[str, Any]:
        """The summary, with labels sorted by count: jsonb does not keep the order of keys."""
        labels = self.summary["labels"].items()
        ordered = sorted(labels, key=lambda pair: (-pair[1], pair[0]))
        return {**self.summary, "labels": dict(ordered)}


class DatasetSource(models.Model):
    """How the answers of a model were parsed when its inferences were added.

    Entries keep it, so that they are still parsed the same after the model's settings change.
    """

    dataset = models.ForeignKey(Dataset, models.CASCADE, related_name="sources")
    model_id = models.CharField(max_length=255)
    task_type = models.CharField(max_length=40)
    class_labels = ArrayField(models.CharField(max_length=255), default=list)
    first_class_number = models.PositiveSmallIntegerField(default=0, db_default=0)
    box_format = models.CharField(max_length=20)
    embedding_size = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.model_id} in {self.dataset}"


class DatasetBlob(models.Model):
    """An input that entries share.

    A storage key is never used again. A row with ``removal_at`` is being removed: no entry may
    take it, and the unique constraint allows a new row of the same hash beside it.
    """

    project = models.ForeignKey(Project, models.PROTECT, related_name="+")
    sha256 = models.CharField(max_length=64)
    size = models.PositiveBigIntegerField()
    storage_key = models.CharField(max_length=200, unique=True)
    content_type = models.CharField(max_length=255, blank=True)
    removal_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                "project", "sha256", condition=Q(removal_at=None), name="dataset_blob"
            )
        ]

    def __str__(self) -> str:
        return self.storage_key


class DatasetEntryQuerySet(models.QuerySet["DatasetEntry"]):
    def of_version(self, version: int) -> Self:
        gone = Q(gone_version=None) | Q(gone_version__gt=version)
        return self.filter(gone, first_version__lte=version)

    def current(self) -> Self:
        """Return the entries of the working version."""
        return self.filter(gone_version=None)

    def with_split(self, splitting: Splitting) -> Self:
        """Return the entries with ``split``, the name of their split or None."""
        return self.annotate(split=split_expression(splitting))


class DatasetEntry(models.Model):
    """A copy of an input and its annotations, as the inference had them when it was added."""

    id = models.BigAutoField(primary_key=True)
    dataset = models.ForeignKey(Dataset, models.CASCADE, related_name="entries")
    source = models.ForeignKey(DatasetSource, models.CASCADE, related_name="+")
    model_id = models.CharField(max_length=255)
    inference_id = models.CharField(max_length=255)
    row_id = models.BigIntegerField()
    first_version = models.PositiveIntegerField()
    gone_version = models.PositiveIntegerField(null=True)

    happened_at = models.DateTimeField(help_text="The inference's created_at.")
    inference_action = models.SmallIntegerField(choices=InferenceAction)
    data_hash = models.BinaryField(max_length=32)
    data_size = models.BigIntegerField()
    data_source = models.CharField(max_length=255, null=True)  # noqa: DJ001
    latitude = models.FloatField(null=True)
    longitude = models.FloatField(null=True)
    blob = models.ForeignKey(DatasetBlob, models.PROTECT, related_name="+", null=True)
    answer = models.TextField(blank=True)
    metadata = models.JSONField(default=dict)
    truth = models.JSONField(null=True)
    embedding = ArrayField(models.FloatField(), null=True)
    labels = ArrayField(models.TextField(), null=True, help_text="Of its annotations.")
    # What the model said, label by label with its score; null if that cannot be read.
    answer_labels = ArrayField(models.TextField(), null=True)
    answer_scores = ArrayField(models.FloatField(null=True), null=True)
    content_hash = models.BinaryField(
        max_length=32, help_text="Of what may differ when it is added again."
    )
    added_at = models.DateTimeField(db_default=Now())
    added_by = models.CharField(max_length=300)

    split: str | None  # where ``with_split`` has set it

    objects = DatasetEntryQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                "dataset",
                "model_id",
                "inference_id",
                condition=Q(gone_version=None),
                name="dataset_entry_once",
            )
        ]
        indexes = [
            # adding._write_batch: which inputs of a batch the dataset has already; and
            # duplicates, which walk it in this order.
            models.Index(
                "dataset",
                "data_hash",
                name="dataset_entry_input",
                condition=Q(gone_version=None),
            ),
            # Read by the page of an inference (which datasets hold it), and by erasure.
            models.Index("model_id", "row_id", name="dataset_entry_inference"),
            # listing.entries_page and archives: entries of a dataset in order of id.
            models.Index("dataset", "id", name="dataset_entry_page"),
        ]

    def __str__(self) -> str:
        return f"{self.model_id} {self.inference_id} in {self.dataset}"


def _audit(
    actor: object, act: str, task: AddingTask | DatasetArchive, **details: Any
) -> None:
    """Write an act on a task to the audit log, as one on its dataset."""
    name, project = task.dataset.name, task.dataset.project
    AuditEntry.write(
        actor, f"dataset.{act}", name, project, task=str(task.pk), **details
    )


class AddingTask(TrackedTask):
    """A task that adds a selection of one model's inferences to a dataset."""

    runner = "datasets.tasks.run_adding_task"
    resume_act = "retry"

    dataset = models.ForeignKey(Dataset, models.CASCADE, related_name="adding_tasks")
    model = models.ForeignKey(RegisteredModel, models.CASCADE, related_name="+")
    created_by = models.CharField(max_length=300)
    selection = models.JSONField(help_text="Which inferences, as it was asked.")
    skip_duplicates = models.BooleanField(
        default=False, help_text="Leave out inputs that are there by their hash."
    )
    expected_count = models.PositiveBigIntegerField(default=0)
    progress_count = models.PositiveBigIntegerField(default=0)
    fixed_at = models.DateTimeField(null=True)
    counts = models.JSONField(default=dict, help_text="What became of how many.")

    class Meta:
        indexes = [
            models.Index("dataset", F("created_at").desc(), name="adding_by_dataset")
        ]

    @property
    def outcome(self) -> list[str]:
        """The counts by outcome, in the words of the page."""
        counts = self.counts
        skipped = counts.get("skipped_duplicates")
        left_out = f" ({skipped:,} left out)" if skipped else ""
        phrases = {
            "updated": "brought up to date",
            "unchanged": "there already",
            "duplicates": f"of an input that was there{left_out}",
            "without_input": "without an input",
            "deleted": "deleted meanwhile",
        }
        others = [
            f"{counts[kind]:,} {phrase}"
            for kind, phrase in phrases.items()
            if counts.get(kind)
        ]
        return [f"{counts.get('added', 0):,} added", *others]

    @property
    def done(self) -> int:
        return self.progress_count

    @property
    def expected(self) -> int:
        return self.expected_count

    def audit(self, actor: object, act: str, **details: Any) -> None:
        _audit(actor, act, self, **details)


class AddingPart(SetPart):
    task = models.ForeignKey(AddingTask, models.CASCADE, related_name="parts")

    class Meta(SetPart.Meta):
        constraints = [
            models.UniqueConstraint("task", "number", name="adding_part_unique")
        ]


class DatasetArchive(ArchiveTask):
    """A task that writes a published version as an archive, and the archive itself."""

    runner = "datasets.tasks.run_archive_task"
    resume_act = "retry"

    dataset = models.ForeignKey(Dataset, models.CASCADE, related_name="archives")
    version = models.PositiveIntegerField()
    # The name of the only split to write; empty writes all entries.
    split = models.CharField(max_length=40, blank=True)

    class Meta:
        indexes = [
            models.Index("dataset", F("created_at").desc(), name="dataset_archives"),
            models.Index(
                "archive_expires_at",
                name="dataset_archive_expiring",
                condition=~Q(archive_key=""),
            ),
        ]

    @property
    def subject(self) -> str:
        return f"{self.dataset.name}-v{self.version}"

    @property
    def project(self) -> Project:
        return self.dataset.project

    @property
    def folder(self) -> str:
        return f"dataset-{self.dataset_id}"

    def members(self) -> MemberSet[DatasetArchive]:
        from datasets.archiving import VersionMembers  # here: it imports this module

        return VersionMembers()

    def audit(self, actor: object, act: str, **details: Any) -> None:
        _audit(actor, act, self, **details)

    def told(self) -> dict[str, Any]:
        """Return the origin of the members, for the manifest of the archive."""
        return {
            "dataset": self.dataset.name,
            "version": self.version,
            "split": self.split or None,
            "project_id": self.project.project_id,
            "task_type": self.dataset.task_type,
        }
