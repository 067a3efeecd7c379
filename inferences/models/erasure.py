"""The tables of erasures: the request, and the report that proves what was removed."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

from django.db import models
from django.db.models import F

from istore.models import AuditEntry, Project
from istore.tasks.tracking import ACTIVE, TrackedTask

TYPES = ("string", "int", "float", "json.string", "json.int", "json.float")


def new_salt() -> bytes:
    """Return a random salt of 16 bytes for the digests of one task."""
    return secrets.token_bytes(16)


class ErasureTask(TrackedTask):
    """One erasure and its report.

    The value itself is stored only while the task may still need it. Digests are salted for
    this task alone: whoever knows a value or an id can prove that the task was about it,
    and nobody can read a value out of a digest.
    """

    runner = "inferences.tasks.run_erasure"

    project = models.ForeignKey(Project, models.CASCADE, related_name="erasures")
    key = models.CharField(max_length=1024)
    type = models.CharField(max_length=11, choices=[(each, each) for each in TYPES])
    value = models.TextField(blank=True, editable=False, help_text="Empty: it is over.")
    salt = models.BinaryField(max_length=16, default=new_salt, editable=False)
    value_digest = models.CharField(max_length=64, editable=False)
    requested_by = models.CharField(max_length=300, editable=False)
    why = models.CharField(max_length=500, blank=True)
    dry_run = models.BooleanField(default=False)
    total_count = models.PositiveBigIntegerField(default=0)
    erased_count = models.PositiveBigIntegerField(default=0)
    report = models.JSONField(default=dict, help_text="How many of which kind went.")
    # The batch whose intents are committed, until it is proved that its rows and blobs are gone.
    open_batch = models.JSONField(null=True, editable=False)

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [
            # Read by the page and the list of a project, newest first.
            models.Index("project", F("created_at").desc(), name="erasure_by_project"),
        ]

    def save(self, **options: Any) -> None:
        if self._state.adding:
            self.value_digest = self.digest_of(self.key, self.type, self.value)
        super().save(**options)

    @property
    def done(self) -> int:
        return self.erased_count

    @property
    def expected(self) -> int:
        return self.total_count

    def digest_of(self, *parts: str) -> str:
        """Return the SHA-256 of the salt and the parts, with a NUL between each, in hex."""
        said = b"\0".join([bytes(self.salt), *(part.encode() for part in parts)])
        return hashlib.sha256(said).hexdigest()

    def includes(self, model_id: str, inference_id: str) -> bool:
        """Return whether this erasure removed that inference."""
        digest = bytes.fromhex(self.digest_of(model_id, inference_id))
        return self.erased.filter(digest=digest).exists()

    def stop(self) -> bool:
        """Ask the task to stop, and delete its value if it has ended."""
        stopped = super().stop()
        forget_values()
        return stopped

    def resume(self) -> bool:
        """Return False: the value was deleted with the end of the task. Request another erasure."""
        return False

    def audit(self, actor: object, act: str, **details: Any) -> None:
        AuditEntry.write(actor, f"erasure.{act}", str(self.pk), self.project, **details)


class ErasedInference(models.Model):
    """A record that an erasure removed one inference; the digest does not say which."""

    task = models.ForeignKey(ErasureTask, models.CASCADE, related_name="erased")
    digest = models.BinaryField(max_length=32)

    class Meta:
        constraints = [
            models.UniqueConstraint("task", "digest", name="erased_once_a_task")
        ]

    def __str__(self) -> str:
        return bytes(self.digest).hex()


def forget_values() -> int:
    """Delete the values of erasures that ended, and return how many. Their digests stay."""
    ended = ErasureTask.objects.exclude(state__in=ACTIVE).exclude(value="")
    return ended.update(value="", open_batch=None)
