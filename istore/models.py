"""Tables of access control, and what the shared rooms keep: runs of verify, released members."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import connection, models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone

from istore.tasks.tracking import TrackedTask

# A name that can stand in a path and in a log line.
PROJECT_ID = RegexValidator(
    r"^[^\x00-\x1f\x7f]{1,255}\Z", "One to 255 characters, none a control character."
)


class Role(models.TextChoices):
    """The role of a member or token in a project. Each role includes those before it."""

    VIEWER = "viewer", "Viewer"
    EDITOR = "editor", "Editor"
    ADMINISTRATOR = "administrator", "Administrator"

    @property
    def rank(self) -> int:
        """The position among the roles, from 0 for the lowest."""
        return list(Role).index(self)

    def at_least(self) -> list[Role]:
        """Return this role and those that include it."""
        return [role for role in Role if role.rank >= self.rank]


class Project(models.Model):
    """A tenant: all stored data belongs to one project."""

    project_id = models.CharField(max_length=255, unique=True, validators=[PROJECT_ID])
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["project_id"]

    def __str__(self) -> str:
        return self.project_id


class Membership(models.Model):
    """The role of a person in a project."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="memberships"
    )
    project = models.ForeignKey(Project, models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=Role, default=Role.VIEWER)

    class Meta:
        constraints = [
            models.UniqueConstraint("user", "project", name="membership_once_a_project")
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.project} as {self.role}"


class Token(models.Model):
    """A secret with a role in one project. Only its SHA-256 is stored.

    The first characters of the secret find the row; ``istore.accounts.tokens`` creates and checks
    tokens.
    """

    name = models.CharField(max_length=255)
    project = models.ForeignKey(Project, models.CASCADE, related_name="tokens")
    role = models.CharField(max_length=16, choices=Role)
    prefix = models.CharField(max_length=16, unique=True, editable=False)
    digest = models.BinaryField(max_length=hashlib.sha256().digest_size)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class AuditEntry(models.Model):
    """An entry of the audit log: one act on data, a policy, a token or a right.

    Entries are written once and never changed.
    """

    at = models.DateTimeField(auto_now_add=True)
    project = models.ForeignKey(
        Project, models.DO_NOTHING, null=True, db_constraint=False, related_name="+"
    )
    actor = models.CharField(max_length=300, help_text="A user or a token, by name.")
    action = models.CharField(max_length=64, help_text="Such as inference.protect.")
    subject = models.CharField(max_length=600, help_text="What it was done to.")
    details = models.JSONField(default=dict)

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "audit entries"
        indexes = [
            # Serves the audit page of a project, newest first.
            models.Index("project", F("id").desc(), name="audit_by_project"),
            # Serves the search for one subject, newest first.
            models.Index("subject", F("id").desc(), name="audit_by_subject"),
        ]
        constraints = [
            models.CheckConstraint(condition=~Q(action=""), name="audit_says_what")
        ]

    def __str__(self) -> str:
        return f"{self.actor}: {self.action} {self.subject}"

    @classmethod
    def write(
        cls,
        actor: object,
        action: str,
        subject: str,
        project: Project | None,
        **details: Any,
    ) -> None:
        """Write an audit entry. Call it in the transaction of the act itself.

        Acts on an account, such as a log-in, belong to no project.
        """
        # Written out: every create has one, and the ORM takes ten times as long.
        values = (
            timezone.now(),
            project.pk if project else None,
            str(actor)[:300],
            action,
            subject[:600],
            json.dumps(details),
        )
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {cls._meta.db_table} "
                "(at, project_id, actor, action, subject, details) "
                "VALUES (%s, %s, %s, %s, %s, %s)",
                values,
            )


class LoginFailures(models.Model):
    """A count of recent wrong passwords by name, address or browser (``accounts.login_throttle``).

    Only hashes are stored, because a typed name may be a password.
    """

    class Kind(models.TextChoices):
        USER = "user"
        ADDRESS = "address"
        BROWSER = "browser"
        AUDITED = "audited"

    kind = models.CharField(max_length=8, choices=Kind)
    digest = models.CharField(max_length=64)
    failures = models.IntegerField()
    last_at = models.DateTimeField()
    until = models.DateTimeField(help_text="Nothing is looked at before.")

    class Meta:
        verbose_name_plural = "login failures"
        constraints = [
            models.UniqueConstraint("kind", "digest", name="login_failures_once")
        ]
        indexes = [
            # Serves beat, which deletes counts after a day.
            models.Index("last_at", name="login_failures_by_age")
        ]

    def __str__(self) -> str:
        return f"{self.failures} of one {self.kind}"


class IdempotentCall(models.Model):
    """A POST with an ``Idempotency-Key``, and its response: see ``istore.api.idempotency``."""

    caller = models.CharField(max_length=64)
    key = models.CharField(max_length=255)
    fingerprint = models.BinaryField(max_length=32)
    status = models.SmallIntegerField(null=True, help_text="Null: still at work.")
    content = models.BinaryField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint("caller", "key", name="idempotency_key_once")
        ]
        indexes = [
            # Serves beat, which deletes calls after a day.
            models.Index("created_at", name="idempotent_call_by_age")
        ]

    def __str__(self) -> str:
        return f"{self.key} of {self.caller}"


class VerifyRun(models.Model):
    """A run of the checks of ``istore.checks.verification`` and its result."""

    kind = models.CharField(
        max_length=10, choices=[("verify", "verify"), ("collect", "collect")]
    )
    by = models.CharField(max_length=300, blank=True, help_text="Empty: the beat.")
    started_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)
    found = models.JSONField(default=dict, help_text="How many findings, by kind.")
    repaired = models.PositiveIntegerField(default=0)
    unfinished = models.JSONField(default=dict, help_text="Checks that broke off.")
    sample = models.JSONField(default=list, help_text="The first of the findings.")

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.kind} of {self.started_at:%Y-%m-%d %H:%M}"

    @property
    def is_clean(self) -> bool:
        """Whether the run has ended without findings and no check broke off."""
        return bool(self.finished_at) and not self.found and not self.unfinished

    @property
    def finding_count(self) -> int:
        return sum(self.found.values())

    def finish(self, **values: Any) -> None:
        """Write the result of the run."""
        type(self).objects.filter(pk=self.pk).update(finished_at=Now(), **values)
        self.refresh_from_db()


class ReleasedMember(models.Model):
    """A range of a pack on an object store that was released, until the pack is rewritten."""

    pack_key = models.TextField()
    offset = models.BigIntegerField()
    length = models.BigIntegerField()
    released_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint("pack_key", "offset", name="released_once")
        ]
        indexes = [
            models.Index("released_at", name="released_by_age"),
            # Removals look for the packs below the prefix of a project, a model or an hour.
            models.Index(
                fields=["pack_key"],
                opclasses=["text_pattern_ops"],
                name="released_by_pack_prefix",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.pack_key}#{self.offset}-{self.length}"


class MovedBlob(models.Model):
    """Where a blob went that was moved into another pack: for readers that know the old key."""

    old_key = models.TextField(primary_key=True)
    new_key = models.TextField()
    moved_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index("moved_at", name="moved_by_age")]

    def __str__(self) -> str:
        return f"{self.old_key} to {self.new_key}"


class PackInMaking(models.Model):
    """A pack that is being made of blobs which are stored already.

    ``obsolete`` says what is to be deleted: what the pack replaced, once rows name it, or the
    pack itself, once it was given up. It is null until one or the other is decided.
    """

    pack_key = models.TextField(primary_key=True)
    obsolete = models.JSONField(null=True)

    def __str__(self) -> str:
        return self.pack_key


class BackupTask(TrackedTask):
    """One backup: where it went, what it holds, and what failed (``istore.backup``)."""

    runner = "istore.tasks.run_backup"

    target = models.CharField(max_length=1024)
    by = models.CharField(max_length=300, blank=True, help_text="Empty: the beat.")
    # Keep so many backups of the target.
    keep = models.PositiveIntegerField(default=7)
    name = models.CharField(max_length=64, blank=True, help_text="Empty: none yet.")
    step = models.CharField(max_length=64, blank=True)
    blob_count = models.PositiveBigIntegerField(default=0)
    expected_count = models.PositiveBigIntegerField(default=0)
    byte_count = models.PositiveBigIntegerField(default=0)
    copied_count = models.PositiveBigIntegerField(default=0)
    copied_bytes = models.PositiveBigIntegerField(default=0)
    missing_count = models.PositiveBigIntegerField(default=0)

    class Meta:
        ordering = ["-created_at", "-id"]
        verbose_name = "backup"
        constraints = [
            # Beat opens one at a time, whatever number of beats there is.
            models.UniqueConstraint(
                "target",
                condition=Q(state__in=["pending", "scheduled", "running"]),
                name="one_backup_at_a_time",
            )
        ]

    @property
    def done(self) -> int:
        return self.blob_count

    @property
    def expected(self) -> int:
        return self.expected_count

    def audit(self, actor: object, act: str, **details: Any) -> None:
        AuditEntry.write(actor, f"backup.{act}", self.target, None, **details)
