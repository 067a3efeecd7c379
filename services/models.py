"""Services, the sessions that run them, the tokens of sessions, and replicas.

A service and a registered model share a ``model_id``, not a foreign key: the store also
has inferences of models that are served elsewhere, and calls of a service may not be stored.
"""

from __future__ import annotations

import hashlib
import uuid
from datetime import datetime
from typing import Any, Self

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from istore.accounts.access import Caller
from istore.models import Project, Role
from istore.uuids import uuid7


def new_id() -> uuid.UUID:
    return uuid.UUID(uuid7())


class Runner(models.TextChoices):
    """The kind of runner that answers for a service."""

    MOCK = "mock", "Mock: simulated answers"
    URL = "url", "URL: a server that runs already"
    PROCESS = "process", "Process: a command of this installation"


class Status(models.TextChoices):
    """The status of a session. The last two are terminal."""

    CREATED = "Created"
    ADMITTED = "Admitted", "Starting"
    READY = "Ready"
    TERMINATED = "Terminated"
    ERROR = "Error"


LIVE = (Status.CREATED, Status.ADMITTED, Status.READY)


class InferenceServiceQuerySet(models.QuerySet["InferenceService"]):
    def visible_to(self, caller: Caller, role: Role = Role.VIEWER) -> Self:
        return self.filter(project__in=caller.visible_projects(role))


class InferenceService(models.Model):
    """A service: a model behind an interface, and how it is run."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    project = models.ForeignKey(Project, models.PROTECT, related_name="services")
    account = models.CharField(
        max_length=255, help_text="For whom it was made, within the project."
    )
    name = models.CharField(max_length=255)
    model_id = models.CharField(
        max_length=255,
        blank=True,
        help_text="The registered model whose inferences its calls are; may be empty.",
    )
    runner = models.CharField(max_length=8, choices=Runner)
    configuration = models.JSONField(default=dict, blank=True)
    endpoint = models.CharField(max_length=255)
    output_schema = models.JSONField(null=True, blank=True)
    input_pipeline = models.JSONField(null=True, blank=True)
    output_pipeline = models.JSONField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = InferenceServiceQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]  # ids are UUIDs in order of time, so the newest comes first
        indexes = [
            # Serves the services of a project, newest first: its page and the API's list.
            models.Index(fields=["project", "-id"], name="service_by_project")
        ]

    def __str__(self) -> str:
        return self.name


class InferenceSessionQuerySet(models.QuerySet["InferenceSession"]):
    def visible_to(self, caller: Caller, role: Role = Role.VIEWER) -> Self:
        return self.filter(service__project__in=caller.visible_projects(role))

    def live(self) -> Self:
        return self.filter(status__in=LIVE)

    def expired(self) -> Self:
        """Return the live sessions whose ``expires_at`` is past."""
        return self.live().filter(expires_at__lte=Now())


class InferenceSession(models.Model):
    """A session: a running instance of a service. Only ``services.sessions`` changes its status."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    service = models.ForeignKey(
        InferenceService, models.CASCADE, related_name="sessions"
    )
    account = models.CharField(max_length=255)
    replicas = models.PositiveSmallIntegerField(
        default=1, validators=[MinValueValidator(1)]
    )
    expires_at = models.DateTimeField()
    status = models.CharField(
        max_length=10, choices=Status, default=Status.CREATED, editable=False
    )
    reason = models.CharField(
        max_length=500, blank=True, editable=False, help_text="Why it is what it is."
    )
    created_by = models.CharField(max_length=300, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    ready_at = models.DateTimeField(null=True, editable=False)
    ended_at = models.DateTimeField(null=True, editable=False)

    objects = InferenceSessionQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [
            # A partial index for the runner and beat, which read live sessions: only a few are.
            models.Index(
                fields=["expires_at"],
                name="session_live",
                condition=Q(status__in=LIVE),
            ),
            # Serves the sessions of a service on its page.
            models.Index(fields=["service", "-id"], name="session_by_service"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(replicas__gte=1), name="session_has_replicas"
            ),
            models.CheckConstraint(
                condition=Q(status__in=LIVE, ended_at=None)
                | (~Q(status__in=LIVE) & Q(ended_at__isnull=False)),
                name="session_ends_once",
            ),
        ]

    def __str__(self) -> str:
        return f"session {self.id.hex}"

    @property
    def is_live(self) -> bool:
        return self.status in LIVE

    @property
    def ready_replicas(self) -> int:
        """The number of ready replicas; the caller prefetches them."""
        return sum(each.is_ready for each in self.running.all())

    def is_expired(self, at: datetime) -> bool:
        return self.expires_at <= at


class SessionToken(models.Model):
    """A token that is valid for one session only. Only the SHA-256 of its secret is stored."""

    session = models.ForeignKey(InferenceSession, models.CASCADE, related_name="tokens")
    prefix = models.CharField(max_length=16, unique=True, editable=False)
    digest = models.BinaryField(max_length=hashlib.sha256().digest_size)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()

    class Meta:
        indexes = [
            # Serves session_tokens.forget_expired_tokens, which beat calls.
            models.Index(fields=["expires_at"], name="session_token_by_expiry")
        ]

    def __str__(self) -> str:
        return f"{self.prefix}… of {self.session_id.hex}"


class Replica(models.Model):
    """One process of a session, with the state that the runner last saw."""

    session = models.ForeignKey(
        InferenceSession, models.CASCADE, related_name="running"
    )
    number = models.PositiveSmallIntegerField()
    port = models.PositiveIntegerField()
    is_ready = models.BooleanField(default=False)
    starts = models.PositiveIntegerField(default=1)
    said = models.CharField(max_length=200, blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["number"]
        constraints = [
            models.UniqueConstraint("session", "number", name="replica_once")
        ]

    def __str__(self) -> str:
        return f"replica {self.number} of {self.session_id.hex}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def configuration_of(service: InferenceService) -> dict[str, Any]:
    """Return the runner of a service as the API has it: its kind and its configuration."""
    return {"kind": service.runner, **service.configuration}
