"""Events that could not become records, kept with what they said."""

from __future__ import annotations

from django.db import models


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
