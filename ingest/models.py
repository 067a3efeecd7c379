"""Events that could not become records, kept with what they said."""

from __future__ import annotations

from typing import Self

from django.db import models
from django.db.models import F, Func, Value

from istore.models import Project


class SetAsideEventQuerySet(models.QuerySet["SetAsideEvent"]):
    def of_project(self, project: Project) -> Self:
        """Those whose blobs lie below the project's prefix."""
        return self.filter(metadata_storage_key__startswith=f"{project.pk}/")

    def with_project_key(self) -> Self:
        """With the first part of the storage key: two projects may have a model of one id."""
        first = Func(
            F("metadata_storage_key"),
            Value("/"),
            Value(1),
            function="split_part",
            output_field=models.TextField(),
        )
        return self.annotate(project_key=first)


class SetAsideEvent(models.Model):
    """A dead letter: an event, why it was set aside, and its payload as it came.

    ``manage.py replay_events`` publishes it again; then ``replayed_at`` says when.
    """

    stream_id = models.CharField(max_length=64, help_text="Its entry in the stream.")
    reason = models.CharField(max_length=32)
    detail = models.TextField(blank=True)
    payload = models.BinaryField()
    # Read out of the payload where it could be, so that people find it; no promise.
    model_id = models.CharField(max_length=255, blank=True)
    inference_id = models.CharField(max_length=300, blank=True)
    metadata_storage_key = models.TextField(blank=True)
    set_aside_at = models.DateTimeField(auto_now_add=True)
    replayed_at = models.DateTimeField(null=True, blank=True)

    objects = SetAsideEventQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        verbose_name = "event set aside"
        verbose_name_plural = "events set aside"
        constraints = [
            # Read, too, when the listener meets the entry again after a crash.
            models.UniqueConstraint("stream_id", "reason", name="set_aside_once")
        ]
        indexes = [
            # Read by reconcile: a marker that was set aside is not published again.
            models.Index("metadata_storage_key", name="set_aside_by_marker")
        ]

    def __str__(self) -> str:
        return f"{self.reason}: {self.inference_id or self.stream_id}"
