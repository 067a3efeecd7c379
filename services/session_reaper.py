"""Probe sessions at a URL until they are ready, and end sessions that have expired."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from django.conf import settings
from django.db.models.functions import Now

from services import sessions
from services.models import InferenceSession, Runner
from services.readiness import status_of
from services.runners.config_fields import BadConfiguration
from services.runners.servers import UrlServer
from services.session_tokens import forget_expired_tokens

AT_ONCE, AT_MOST = 8, 200


def tend() -> None:
    """Do one round: end expired sessions, delete expired tokens, probe. Beat calls it."""
    sessions.end_expired_sessions()
    forget_expired_tokens()
    starting = InferenceSession.objects.filter(
        status__in=sessions.STARTING, service__runner=Runner.URL
    )
    found = list(starting.select_related("service__project")[:AT_MOST])
    # The threads only probe over HTTP. Database connections stay with this thread.
    with ThreadPoolExecutor(AT_ONCE) as threads:
        answers = list(threads.map(_answers, found))
    for session, answers_now in zip(found, answers, strict=True):
        _note(session, answers_now)


def look(session: InferenceSession) -> None:
    """Probe the server of a starting session now, and refresh ``session`` from the database."""
    waits = session.status in sessions.STARTING
    if waits and session.service.runner == Runner.URL:
        _note(session, _answers(session))
    session.refresh_from_db()


def _answers(session: InferenceSession) -> bool | str:
    """Return whether the server is ready; a text if its configuration is not allowed."""
    try:
        server = UrlServer.read(session.service.configuration)
    except BadConfiguration as error:  # the operator's rules changed since
        return str(error)
    status = status_of(server.ready_url)
    return status is not None and server.dialect.means_ready(status)


def _note(session: InferenceSession, answers: bool | str) -> None:
    if isinstance(answers, str):
        sessions.note_failed(session, answers)
    elif answers:
        sessions.note_ready(session)
    elif _is_late(session):
        seconds = settings.ISTORE_SESSION_START_SECONDS
        sessions.note_failed(session, f"It did not answer within {seconds} seconds.")
    else:
        sessions.note_admitted(session)


def _is_late(session: InferenceSession) -> bool:
    patience = timedelta(seconds=settings.ISTORE_SESSION_START_SECONDS)
    return InferenceSession.objects.filter(
        pk=session.pk, created_at__lt=Now() - patience
    ).exists()
