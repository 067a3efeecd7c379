"""The state machine of sessions: every change of a status goes through this module.

Each transition is one conditional UPDATE, so of two concurrent ones the second changes
nothing. A terminated session stays terminated, whatever a runner still reports.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Coalesce, Now

from istore.db.clock import now
from istore.errors import Conflict, Invalid
from istore.failpoints import failpoint
from istore.models import AuditEntry, Project
from services.models import (
    LIVE,
    InferenceService,
    InferenceSession,
    Runner,
    Status,
)
from services.session_tokens import new_secret

STARTING = (Status.CREATED, Status.ADMITTED)
EXPIRED = "It expired."
ONE_CALL = timedelta(minutes=2)


@transaction.atomic
def create_service(actor: object, project: Project, **values: Any) -> InferenceService:
    service = InferenceService.objects.create(project=project, **values)
    AuditEntry.write(
        actor, "service.create", service.id.hex, project, name=service.name
    )
    return service


@transaction.atomic
def remove_service(actor: object, service: InferenceService) -> None:
    """Delete a service and its sessions. Raises ``Conflict`` if one has not ended."""
    locked = InferenceService.objects.select_for_update().get(pk=service.pk)
    if locked.sessions.live().exists():
        message = "It has sessions that have not ended. Terminate them first."
        raise Conflict("service-in-use", message)
    AuditEntry.write(
        actor, "service.delete", service.id.hex, service.project, name=service.name
    )
    locked.delete()


def start_session(
    actor: object,
    service: InferenceService,
    *,
    account: str = "",
    replicas: int = 1,
    expires_at: datetime | None = None,
) -> tuple[InferenceSession, str]:
    """Start a session; return it with the secret of its token, which cannot be shown again.

    Both are committed before they are returned.
    """
    ends = _expiry(expires_at)
    with transaction.atomic():
        # The lock makes concurrent starts count one after the other (_check_room), and
        # keeps the service from being deleted meanwhile.
        Project.objects.select_for_update().get(pk=service.project_id)
        if not InferenceService.objects.filter(pk=service.pk).exists():
            raise Invalid("There is no such service.", "inferenceService")
        _check_room(service.project)
        is_ready = service.runner == Runner.MOCK  # a mock needs no start
        session = InferenceSession.objects.create(
            service=service,
            account=account or service.account,
            replicas=replicas,
            expires_at=ends,
            status=Status.READY if is_ready else Status.CREATED,
            ready_at=Now() if is_ready else None,
            created_by=str(actor)[:300],
        )
        secret = new_secret(session)
        _audit(actor, "session.create", session, replicas=replicas)
    failpoint("sessions.committed")
    session.refresh_from_db()
    return session, secret


def issue_token(
    actor: object, session: InferenceSession, expires_at: datetime | None = None
) -> str:
    """Create a further token of a live session, and return its secret. Raises ``Conflict``."""
    with transaction.atomic():
        held = InferenceSession.objects.select_for_update().get(pk=session.pk)
        if not held.is_live or held.is_expired(now()):
            raise ended(held)
        secret = new_secret(held, expires_at)
        _audit(actor, "session.token", session)
    failpoint("sessions.token_committed")
    return secret


def short_lived_token(actor: object, session: InferenceSession) -> str:
    """Return the secret of a token for one call, made on behalf of a person."""
    return issue_token(actor, session, now() + ONE_CALL)


def terminate_session(actor: object, session: InferenceSession) -> InferenceSession:
    """Terminate a session, and return it. One that has ended is returned unchanged."""
    with transaction.atomic():
        if _end(session, Status.TERMINATED, f"By {actor}."):
            _audit(actor, "session.terminate", session)
    session.refresh_from_db()
    return session


def end_expired_sessions() -> int:
    """End expired sessions, and return how many. Beat calls it."""
    count = 0
    expired = InferenceSession.objects.expired().select_related("service__project")
    for session in expired:
        with transaction.atomic():
            if _end(session, Status.TERMINATED, EXPIRED):
                _audit("expiry", "session.terminate", session)
                count += 1
    return count


def note_admitted(session: InferenceSession, reason: str = "") -> bool:
    """Note that a session is being started or restarted. Returns False if it has ended."""
    found = _live(session).exclude(status=Status.ADMITTED, reason=reason[:500])
    return bool(found.update(status=Status.ADMITTED, reason=reason[:500]))


def note_ready(session: InferenceSession) -> bool:
    """Note that a session is ready. Returns False if it has ended or was ready before."""
    found = _live(session).exclude(status=Status.READY)
    ready_at = Coalesce(F("ready_at"), Now())
    return bool(found.update(status=Status.READY, reason="", ready_at=ready_at))


def note_failed(session: InferenceSession, reason: str) -> bool:
    """Note that a session cannot be started (again). Returns False if it has ended."""
    with transaction.atomic():
        failed = _end(session, Status.ERROR, reason)
        if failed:
            _audit("runner", "session.fail", session, reason=reason)
    return failed


def state_problem(session: InferenceSession, at: datetime) -> Conflict | None:
    """Return the error that says why a session can never be called again; None while it is live."""
    if not session.is_live:
        return ended(session)
    if session.is_expired(at):
        return Conflict("session-terminated", f"The session has ended. {EXPIRED}")
    return None


def ended(session: InferenceSession) -> Conflict:
    if session.status == Status.ERROR:
        return Conflict("session-failed", f"The session failed. {session.reason}")
    reason = EXPIRED if session.is_live else session.reason
    return Conflict("session-terminated", f"The session has ended. {reason}")


def _expiry(wanted: datetime | None) -> datetime:
    at = now()
    longest = at + timedelta(hours=settings.ISTORE_SESSION_HOURS_MAX)
    if wanted is None:
        return min(at + timedelta(hours=settings.ISTORE_SESSION_HOURS), longest)
    if wanted <= at:
        raise Invalid("This moment has passed.", "expires")
    if wanted > longest:
        most = settings.ISTORE_SESSION_HOURS_MAX
        raise Invalid(f"A session lasts {most} hours at most.", "expires")
    return wanted


def _check_room(project: Project) -> None:
    most = settings.ISTORE_SESSIONS_OPEN
    if InferenceSession.objects.live().filter(service__project=project).count() >= most:
        message = f"The project has {most} sessions that have not ended."
        raise Conflict("too-many-sessions", message)


def _live(session: InferenceSession) -> Any:
    return InferenceSession.objects.filter(pk=session.pk, status__in=LIVE)


def _end(session: InferenceSession, status: Status, reason: str) -> bool:
    """End a live session; return False if it had ended.

    The runner then sees that it is not live, stops its processes and deletes their rows.
    """
    return bool(
        _live(session).update(status=status, reason=reason[:500], ended_at=Now())
    )


def _audit(
    actor: object, action: str, session: InferenceSession, **details: Any
) -> None:
    project = session.service.project
    AuditEntry.write(actor, action, session.id.hex, project, **details)
