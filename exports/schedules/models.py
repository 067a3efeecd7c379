"""Tables of scheduled exports: schedules, their runs, and the files that were written."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any, ClassVar, Self

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import DurationField, ExpressionWrapper, F, Q
from django.db.models.functions import Now

from inferences.models import RegisteredModel
from inferences.search.api.filter_json import read_filter
from inferences.search.filters import Filter
from inferences.store.arrival_order import EARLIEST
from istore.tasks.tracking import ACTIVE, TrackedTask

HOUR = timedelta(hours=1)
INTERVAL_MOST = 24 * 366


class ExportShape(models.TextChoices):
    FLAT = "flat", "one row for each inference"
    EXPLODED = "exploded", "one row for each finding"


class ExportFormat(models.TextChoices):
    PARQUET = "parquet", "Parquet files in folders of days"
    ICEBERG = "iceberg", "an Iceberg table in the lake"


class ExportScheduleQuerySet(models.QuerySet["ExportSchedule"]):
    def due(self, at: datetime) -> Self:
        """Return enabled schedules whose interval has passed.

        A schedule whose last run lies in the future is due, too: the clock was wrong then.
        """
        interval = ExpressionWrapper(
            F("interval_hours") * HOUR, output_field=DurationField()
        )
        next_at = ExpressionWrapper(
            F("last_scheduled_at") + interval, output_field=models.DateTimeField()
        )
        waited = Q(last_scheduled_at=None) | Q(next_at__lte=at)
        waited |= Q(last_scheduled_at__gt=at)
        return self.alias(next_at=next_at).filter(waited, enabled=True)


class ExportSchedule(models.Model):
    """A schedule: which records of a model go where, how often, and how far it has come.

    ``position`` is the arrival number up to which every match is in a committed file.
    ``chunk_through`` is set while the chunk after it is written, so that a retry writes the chunk
    with the same bounds.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    model = models.ForeignKey(
        RegisteredModel, models.CASCADE, related_name="export_schedules"
    )
    name = models.CharField(max_length=100)
    selection = models.JSONField(
        default=dict, blank=True, help_text="filters, filter or query, as it was asked."
    )
    format = models.CharField(
        max_length=8,
        choices=ExportFormat,
        default=ExportFormat.PARQUET,
        db_default=ExportFormat.PARQUET,
    )
    shape = models.CharField(
        max_length=8, choices=ExportShape, default=ExportShape.FLAT
    )
    keeps_removed = models.BooleanField(
        default=True,
        db_default=True,
        help_text="Whether rows stay in the lake whose records the store has removed.",
    )
    interval_hours = models.PositiveIntegerField(
        default=24,
        validators=[MinValueValidator(1), MaxValueValidator(INTERVAL_MOST)],
        help_text="Hours from one run to the next.",
    )
    destination = models.CharField(
        max_length=64, blank=True, help_text="By its name; empty: the default store."
    )
    prefix = models.CharField(max_length=300, blank=True)
    names_project = models.BooleanField(
        default=True,
        editable=False,
        help_text="Whether the path of its files begins with the project.",
    )
    enabled = models.BooleanField(default=True)
    created_by = models.CharField(max_length=300, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    position = models.BigIntegerField(default=EARLIEST, editable=False)
    chunk_through = models.BigIntegerField(null=True, editable=False)
    exported_until = models.DateTimeField(
        null=True,
        editable=False,
        help_text="What arrived before this moment has been exported.",
    )
    last_scheduled_at = models.DateTimeField(null=True, editable=False)
    last_error = models.CharField(max_length=300, blank=True, editable=False)
    last_error_at = models.DateTimeField(null=True, editable=False)
    row_count = models.PositiveBigIntegerField(default=0, editable=False)
    file_count = models.PositiveBigIntegerField(default=0, editable=False)

    objects = ExportScheduleQuerySet.as_manager()

    class Meta:
        ordering = ["model__model_id", "name"]
        constraints = [
            models.UniqueConstraint(
                "model", "name", name="export_schedule_name_unique"
            ),
            models.UniqueConstraint(
                "model",
                "destination",
                "prefix",
                name="export_schedule_has_its_place_alone",
                condition=Q(format=ExportFormat.PARQUET),
            ),
            models.CheckConstraint(
                condition=Q(format=ExportFormat.PARQUET) | Q(destination="", prefix=""),
                name="export_schedule_of_lake_has_no_place",
            ),
            models.CheckConstraint(
                condition=Q(interval_hours__gte=1), name="export_schedule_has_interval"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} of {self.model}"

    def read_filter(self) -> Filter:
        """Return which records go out. Raises ``ValueError`` if it cannot be read any more."""
        return read_filter(self.selection)

    @property
    def goes_to_lake(self) -> bool:
        return self.format == ExportFormat.ICEBERG

    @property
    def every(self) -> str:
        """The interval in words."""
        days, hours = divmod(self.interval_hours, 24)
        count, unit = (self.interval_hours, "hour") if hours else (days, "day")
        return f"every {unit}" if count == 1 else f"every {count} {unit}s"

    @property
    def next_at(self) -> datetime | None:
        """The time of the next run; None if the schedule is off or due now."""
        if not self.enabled or self.last_scheduled_at is None:
            return None
        return self.last_scheduled_at + self.interval_hours * HOUR


class ScheduledExport(TrackedTask):
    """One run of a schedule, over everything that had arrived when it began."""

    runner: ClassVar = "exports.tasks.run_scheduled_export"

    schedule = models.ForeignKey(
        ExportSchedule, models.CASCADE, related_name="scheduled_exports"
    )
    through = models.BigIntegerField(
        null=True, editable=False, help_text="The last arrival that is in it."
    )
    fixed_at = models.DateTimeField(null=True, editable=False)
    arrived_count = models.PositiveBigIntegerField(default=0, editable=False)
    passed_count = models.PositiveBigIntegerField(default=0, editable=False)
    row_count = models.PositiveBigIntegerField(default=0, editable=False)
    inference_count = models.PositiveBigIntegerField(default=0, editable=False)
    file_count = models.PositiveBigIntegerField(default=0, editable=False)
    left_out = models.JSONField(default=dict, editable=False, help_text="By reason.")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                "schedule", name="scheduled_export_alone", condition=Q(state__in=ACTIVE)
            )
        ]
        indexes = [
            # Serves the list of a schedule's runs, newest first.
            models.Index(
                "schedule", F("created_at").desc(), name="scheduled_export_latest"
            )
        ]

    @property
    def done(self) -> int:
        return self.passed_count

    @property
    def expected(self) -> int:
        return self.arrived_count

    def counted(self, **added: int) -> dict[str, Any]:
        """Return the counters of this run, raised by these values."""
        return {name: getattr(self, name) + value for name, value in added.items()}


class ExportedFile(models.Model):
    """A file of a schedule: announced before it is stored, committed with the position."""

    schedule = models.ForeignKey(
        ExportSchedule, models.CASCADE, related_name="exported_files"
    )
    key = models.TextField()
    date = models.DateField()
    arrived_after = models.BigIntegerField()
    arrived_through = models.BigIntegerField()
    row_count = models.PositiveBigIntegerField(default=0)
    size = models.PositiveBigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True)
    committed_at = models.DateTimeField(null=True)

    #: The address of a download, where the page of the schedule has set it.
    link: str | None

    class Meta:
        constraints = [
            models.UniqueConstraint("schedule", "key", name="exported_file_unique")
        ]
        indexes = [
            # Serves the list of a schedule's files, newest first.
            models.Index("schedule", F("id").desc(), name="exported_file_latest")
        ]

    def __str__(self) -> str:
        return self.key
