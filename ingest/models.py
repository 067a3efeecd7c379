"""The table of dead letters: events that could not become records."""

from __future__ import annotations

from typing import Any, Self

from django.db import models
from django.db.models import F, Func, Value

from istore.models import Project


class DeadLetterQuerySet(models.QuerySet["DeadLetter"]):
    """Queries of dead letters."""

    def of_project(self, project: Project) -> Self:
        """Those whose blobs lie below the prefix of the project."""
        return self.filter(metadata_storage_key__startswith=f"{project.pk}/")

    def with_project_key(self) -> models.QuerySet[Any]:
        """Annotate ``project_key``, the first part of the storage key.

        It tells apart two projects that have a model of the same id.
        """
        first = Func(
            F("metadata_storage_key"),
            Value("/"),
            Value(1),
            function="split_part",
            output_field=models.TextField(),
        )
        return self.annotate(project_key=first)


class DeadLetter(models.Model):
    """An event that will not become a record, why, and its payload as it came.

    ``manage.py replay_events`` publishes it again; then ``replayed_at`` says when.
    """

    stream_id = models.CharField(max_length=64, help_text="Its entry in the stream.")
    reason = models.CharField(max_length=32)
    detail = models.TextField(blank=True)
    payload = models.BinaryField()
    # Parsed from the payload where possible, so that people can search; not authoritative.
    model_id = models.CharField(max_length=255, blank=True)
    inference_id = models.CharField(max_length=300, blank=True)
    metadata_storage_key = models.TextField(blank=True)
    set_aside_at = models.DateTimeField(auto_now_add=True)
    replayed_at = models.DateTimeField(null=True, blank=True)

    objects = DeadLetterQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        db_table = "ingest_setasideevent"
        verbose_name = "dead letter"
        verbose_name_plural = "dead letters"
        constraints = [
            # Makes ``dead_letters.set_aside`` idempotent: after a crash the listener gets the
            # same entry again.
            models.UniqueConstraint("stream_id", "reason", name="set_aside_once")
        ]
        indexes = [
            # Used by reconcile and ``verify``, which look up dead letters by marker: these are
            # not published again. And by erasures and rewrites of packs, which look for those
            # below a prefix.
            models.Index(
                fields=["metadata_storage_key"],
                opclasses=["text_pattern_ops"],
                name="set_aside_by_marker_prefix",
            )
        ]

    def __str__(self) -> str:
        return f"{self.reason}: {self.inference_id or self.stream_id}"
