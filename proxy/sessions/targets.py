"""Find which session a call reaches, and what answers for it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import Any

from inferences.models import RegisteredModel
from istore.accounts.access import Caller
from istore.accounts.tokens import find_token
from istore.db.clock import now
from istore.models import Token
from proxy.answers import (
    AGAIN_IN_A_SECOND,
    Refused,
    nothing_here,
    unauthenticated,
)
from proxy.targets import Known, Target, check_role, rows_of, seconds_until
from services import sessions
from services.models import (
    InferenceService,
    InferenceSession,
    Runner,
    SessionToken,
    Status,
)
from services.runners.commands import BadCommands, listed
from services.runners.config_fields import BadConfiguration
from services.runners.mocks import Mock
from services.runners.servers import OPENAI, V2, Dialect, UrlServer
from services.session_ports import is_port_of_session, port_of
from services.session_tokens import MARK, find_session_token

NOT_STORED = Target(
    model_id="",
    model_key=0,
    project_key=0,
    task_type="",
    base_url="",
    name="",
    is_stored=False,
    strips_metadata=False,
)


NO_DIALECT = Dialect()


@dataclass(frozen=True, slots=True)
class SessionTarget:
    """A session as the proxy sees it: a mock, or servers that are equivalent.

    ``stored`` is the registered model whose inferences the calls become; None if they are not
    stored.
    """

    session_id: str
    endpoint: str
    output_schema: dict[str, Any] | None
    mock: Mock | None = None
    dialect: Dialect = NO_DIALECT
    servers: tuple[Target, ...] = ()
    stored: Target | None = None


def find_session_target(secret: str, names: tuple[str, ...]) -> Known[SessionTarget]:
    """Return the one session that is named.

    Raises ``Refused``: 401, 403, 404, 409 when it has ended, 503 while it is starting.
    """
    (session_id,) = names
    session, token = _find(secret, session_id)
    if problem := sessions.state_problem(session, now()):
        raise Refused(problem.status, str(problem), code=problem.code)
    service = session.service
    if session.status != Status.READY:
        raise _starting()
    mock, dialect, servers = _runner(session)
    stored, models = _find_stored_model(service, is_v2=dialect.protocol == V2)
    target = SessionTarget(
        session_id=session.id.hex,
        endpoint=service.endpoint,
        output_schema=service.output_schema,
        mock=mock,
        dialect=dialect,
        servers=servers,
        stored=stored,
    )
    depends_on = {*_rows_of(token), f"session:{session.pk}", f"service:{service.pk}"}
    depends_on |= {f"sessions of {port_of(each.base_url)}" for each in servers}
    seconds = seconds_until(session.expires_at, token.expires_at)
    return Known(target, frozenset(depends_on | models), seconds)


def _find(
    secret: str, session_id: str
) -> tuple[InferenceSession, Token | SessionToken]:
    try:
        pk = uuid.UUID(hex=session_id)
    except ValueError:
        pk = None
    if secret.startswith(MARK):
        found = find_session_token(secret)
        if found is None:
            raise unauthenticated()
        if found.session_id != pk:
            raise nothing_here()
        return found.session, found
    token = find_token(secret)
    if token is None:
        raise unauthenticated()
    seen = InferenceSession.objects.visible_to(Caller(token=token))
    session = pk and seen.filter(pk=pk).select_related("service").first()
    if not session:
        raise nothing_here()
    check_role(token)
    return session, token


def _rows_of(token: Token | SessionToken) -> tuple[str, ...]:
    if isinstance(token, SessionToken):
        return (f"session-token:{token.pk}",)
    return rows_of(token)


def _runner(
    session: InferenceSession,
) -> tuple[Mock | None, Dialect, tuple[Target, ...]]:
    service = session.service
    try:
        if service.runner == Runner.MOCK:
            mock = Mock.read(service.configuration)
            speaks = mock.speaks_openai(service.endpoint)
            return mock, Dialect(OPENAI) if speaks else NO_DIALECT, ()
        if service.runner == Runner.URL:
            server = UrlServer.read(service.configuration)
            return None, server.dialect, (_server(server.url),)
        command = listed()[service.configuration["process"]]
    except BadConfiguration as error:
        raise Refused(502, str(error)) from None
    except (BadCommands, KeyError):
        raise Refused(502, "This installation lists no such command.") from None
    ready = session.running.filter(is_ready=True)
    servers = tuple(_server(each.url, is_ours=True) for each in ready)
    if not servers:
        raise _starting()
    return None, command.dialect, servers


def _server(url: str, *, is_ours: bool = False) -> Target:
    is_elsewhere = not is_ours and is_port_of_session(url)
    return replace(NOT_STORED, base_url=url, is_ours=is_ours, is_elsewhere=is_elsewhere)


def _find_stored_model(
    service: InferenceService, *, is_v2: bool
) -> tuple[Target | None, set[str]]:
    """Return the service's model, and the rows on which this depends.

    The model is None unless it is registered in the service's project and stores inferences. The
    rows are which models the project has.
    """
    if not service.model_id:
        return None, set()
    rows = {f"models of {service.project_id}"}
    model = RegisteredModel.objects.filter(
        model_id=service.model_id,
        project=service.project_id,
        enable_inference_storage=True,
    ).first()
    if model is None:
        return None, rows
    target = replace(
        NOT_STORED,
        model_id=model.model_id,
        model_key=model.pk,
        project_key=model.project_id,
        task_type=model.task_type,
        is_stored=True,
        strips_metadata=model.strip_metadata and is_v2,
        keeps_failures=model.keep_failures,
    )
    return target, rows


def _starting() -> Refused:
    message = "The session is starting. Try again soon."
    return Refused(503, message, AGAIN_IN_A_SECOND, code="session-starting")
