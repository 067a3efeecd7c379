"""The local platform: the API of services and sessions, without a server."""

from __future__ import annotations

import hashlib
import os
import secrets
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from inference_store import mocks
from inference_store.adapters import Adapter
from inference_store.errors import (
    BY_STATUS,
    Conflict,
    InferenceStoreError,
    NotFound,
    Unavailable,
)
from inference_store.forks import ForkSafeLock
from inference_store.local.session_client import InferenceSessionClient
from inference_store.local.storing import Directory
from inference_store.mocks import openai
from inference_store.schema import (
    InferenceInterface,
    InferenceRunner,
    InferenceService,
    InferenceServiceReference,
    InferenceServiceStatus,
    InferenceSession,
    InferenceSessionAndToken,
    InferenceSessionCreateRequest,
    InferenceSessionStatus,
    RunnerKind,
    is_status_terminal,
)

SERVICE, SESSION, READY_AT, ENDED = "service.json", "session.json", "ready_at", "ended"


class SessionNotReady(Unavailable):
    """The session is starting: try again, or wait until ``ready`` returns True."""


class SessionEnded(Conflict):
    """The session was terminated or has expired, and will not answer again."""


class LocalPlatform:
    """Services and sessions in a directory, with the methods of a client of a server.

    Another process with the same directory sees the same services and sessions.

    Parameters:
        storage_root: a directory; it is created if it does not exist.
        starting_seconds: seconds from the creation of a session until it is ready. The
            default is 0; set it to test a program that waits.
    """

    def __init__(
        self, storage_root: str | os.PathLike[str], *, starting_seconds: float = 0.0
    ) -> None:
        if not 0 <= starting_seconds <= 3600:
            raise ValueError("'starting_seconds' is from 0 to 3600.")
        self.storage_root = Path(storage_root)
        self.storage_root.mkdir(parents=True, exist_ok=True)
        self.inferenceservices = InferenceServices(
            Directory(self.storage_root / "inferenceservices")
        )
        self.inferencesessions = InferenceSessions(
            Directory(self.storage_root / "inferencesessions"),
            self.inferenceservices,
            timedelta(seconds=starting_seconds),
        )

    def __repr__(self) -> str:
        return f"LocalPlatform({str(self.storage_root)!r})"


class InferenceServices:
    """The services of a local platform."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def create_mock(
        self,
        mock: type[mocks.Mock] | str,
        account: str,
        *,
        name: str | None = None,
        model_id: str | None = None,
        protocol: str | None = None,
        **options: Any,
    ) -> InferenceService:
        """Create a service that answers with simulated inferences.

        Parameters:
            mock: a class of ``mocks``, or its name in the registry. A class of your own is
                registered by this call, and must be registered in every process that uses it.
            account: the account that the service belongs to.
            name: name of the service; that of the mock when not given.
            model_id: id of the model that the service represents.
            protocol: ``openai`` for a text mock that answers as OpenAI-compatible servers
                do; without it, it has its own interface.
            options: options of the mock, such as ``seed``, ``latency``, ``error_rate``.

        Returns:
            The service, ready.

        Raises:
            KeyError: there is no mock of that name.
            ValueError: an option or the protocol is unknown or not valid.
        """
        kind = mocks.find(mock) if isinstance(mock, str) else mocks.register(mock)
        kind(**options)
        service = InferenceService(
            id=uuid.uuid4().hex,
            account=account,
            name=name or kind.name,
            model=model_id and {"id": model_id, "name": model_id},
            interface=_interface(kind, protocol),
            runner=InferenceRunner(
                kind=RunnerKind.MOCK, mock=kind.name, options=options
            ),
            status=InferenceServiceStatus.READY,
            creationTime=_now(),
        )
        self._directory.write(service.id, SERVICE, str(service))
        return service

    def get(self, service_id: str) -> InferenceService:
        """Return a service. Raises NotFound if there is none of this id."""
        kept = self._directory.read(service_id, SERVICE)
        if kept is None:
            raise NotFound(f"There is no service {service_id!r:.60}.", status=404)
        return InferenceService.model_validate_json(kept)

    def query(self) -> list[InferenceService]:
        """Return all services, oldest first."""
        found = [self.get(identity) for identity in self._directory.identities()]
        return sorted(found, key=lambda item: (item.creationTime or _now(), item.id))


class InferenceSessions:
    """The sessions of a local platform."""

    def __init__(
        self, directory: Directory, services: InferenceServices, starting: timedelta
    ) -> None:
        self._directory = directory
        self._services = services
        self._starting = starting
        self._mocks: dict[str, mocks.Mock] = {}
        self._lock = ForkSafeLock()

    def create(
        self, request: InferenceSessionCreateRequest | Mapping[str, Any]
    ) -> InferenceSessionAndToken:
        """Start a session of a service. It is ready after ``starting_seconds``.

        Parameters:
            request: the account, the service, the number of replicas and the expiry.

        Returns:
            The session, and the token for this session alone. The token is shown only once.

        Raises:
            NotFound: there is no such service.
            ValueError: the request is not valid.
        """
        wanted = InferenceSessionCreateRequest.model_validate(request)
        service = self._services.get(wanted.inferenceService)
        now = _now()
        if wanted.expires is not None and wanted.expires <= now:
            raise ValueError("'expires' lies in the past.")
        session = InferenceSession(
            id=uuid.uuid4().hex,
            account=wanted.account,
            inferenceService=InferenceServiceReference(
                **service.model_dump(
                    include=set(InferenceServiceReference.model_fields)
                )
            ),
            replicas=wanted.replicas,
            expires=wanted.expires,
            status=InferenceSessionStatus.ADMITTED,
            creationTime=now,
        )
        ready_at = (now + self._starting).isoformat()
        self._directory.write(session.id, READY_AT, ready_at)
        token = self._new_token(session.id, wanted.expires)
        self._directory.write(session.id, SESSION, str(session))
        return InferenceSessionAndToken(
            inferencesession=self.get(session.id), token=token
        )

    def get(self, session_id: str) -> InferenceSession:
        """Return a session with its current status. Raises NotFound."""
        kept = self._directory.read(session_id, SESSION)
        if kept is None:
            raise NotFound(f"There is no session {session_id!r:.60}.", status=404)
        session = InferenceSession.model_validate_json(kept)
        ended = self._directory.read(session_id, ENDED)
        ready_at = self._directory.read(session_id, READY_AT)
        now = _now()
        if ended is not None or (session.expires and session.expires <= now):
            session.status = InferenceSessionStatus.TERMINATED
            session.reason = ended or "Expired"
        elif ready_at is not None and datetime.fromisoformat(ready_at) <= now:
            session.status = InferenceSessionStatus.READY
        return session

    def query(self) -> list[InferenceSession]:
        """Return all sessions, oldest first."""
        found = [
            self.get(identity)
            for identity in self._directory.identities()
            if self._directory.read(identity, SESSION) is not None
        ]
        return sorted(found, key=lambda item: (item.creationTime or _now(), item.id))

    def ready(self, session_id: str) -> bool:
        """Return whether the session can be called; False while it is starting.

        Raises:
            SessionEnded: it has ended and will never be ready.
            NotFound: there is no such session.
        """
        return self._living(session_id).status == InferenceSessionStatus.READY

    def token(self, session_id: str, expires: datetime | None = None) -> str:
        """Create a further token, valid until the session ends or until ``expires``.

        Raises:
            SessionEnded: the session has ended.
            NotFound: there is no such session.
        """
        session = self._living(session_id)
        ends = [end for end in (session.expires, expires) if end is not None]
        return self._new_token(session_id, min(map(_aware, ends)) if ends else None)

    def terminate(self, session_id: str) -> InferenceSession:
        """Terminate a session permanently. One that has ended is returned unchanged.

        Returns:
            The session.

        Raises:
            NotFound: there is no such session.
        """
        if not is_status_terminal(self.get(session_id).status):
            self._directory.write(session_id, ENDED, "Terminated on request")
        return self.get(session_id)

    def infer(self, session_id: str, endpoint: str, request: Any, *, token: str) -> Any:
        """Call a session directly, without its pipelines, and return the answer.

        Parameters:
            session_id: the session's id.
            endpoint: the endpoint of its interface.
            request: JSON in the form that the service takes.
            token: a token of the session. A server checks it; it is ignored here.

        Returns:
            The answer of the service.

        Raises:
            SessionNotReady: it is starting.
            SessionEnded: it has ended.
            NotFound: there is no such session or endpoint.
            ValidationError: the service cannot answer this request.
            ServerError: the service failed.
        """
        session = self._living(session_id)
        if session.status != InferenceSessionStatus.READY:
            raise SessionNotReady("The session is starting.", status=503)
        if endpoint != session.inferenceService.interface.endpoint:
            raise NotFound(f"There is no endpoint {endpoint!r:.60}.", status=404)
        mock = self._mock_of(session)
        try:
            if f"/{endpoint}" == openai.path_of(type(mock)):
                return openai.answer(mock, f"/{endpoint}", request)
            return mock.infer(request)
        except mocks.MockError as error:
            kind = BY_STATUS.get(error.status, InferenceStoreError)
            raise kind(str(error), status=error.status) from error

    def client(
        self,
        session_id: str,
        token: str,
        *,
        interface: InferenceInterface | None = None,
        endpoint: str | None = None,
        input_adapter: Adapter | None = None,
        output_adapter: Adapter | None = None,
    ) -> InferenceSessionClient:
        """Return a client of one session. Nothing is sent yet.

        Parameters:
            session_id: the session's id.
            token: a token of the session.
            interface: the interface whose endpoint and pipelines are used, usually that of
                the service.
            endpoint: replaces the endpoint of the interface.
            input_adapter: replaces the input pipeline of the interface.
            output_adapter: replaces the output pipeline of the interface.

        Returns:
            The client, with ``infer``.

        Raises:
            ValueError: neither an interface nor an endpoint is given.
            AdapterError: a pipeline of the interface is not valid.
        """

        def send(endpoint: str, request: Any) -> Any:
            return self.infer(session_id, endpoint, request, token=token)

        return InferenceSessionClient(
            send,
            interface=interface,
            endpoint=endpoint,
            input_adapter=input_adapter,
            output_adapter=output_adapter,
        )

    def _living(self, session_id: str) -> InferenceSession:
        session = self.get(session_id)
        if is_status_terminal(session.status):
            reason = f"The session has ended: {session.reason}."
            raise SessionEnded(reason, status=409, code="session-terminated")
        return session

    def _mock_of(self, session: InferenceSession) -> mocks.Mock:
        """Return the mock of a session, the same object for all calls of this process."""
        runner = session.inferenceService.runner or InferenceRunner(kind="")
        with self._lock:
            if session.id not in self._mocks:
                try:
                    mock = mocks.create(runner.mock or "", runner.options)
                except KeyError as error:
                    raise InferenceStoreError(error.args[0], status=500) from None
                self._mocks[session.id] = mock
            return self._mocks[session.id]

    def _new_token(self, session_id: str, expires: datetime | None) -> str:
        token = f"ils_{secrets.token_urlsafe(32)}"
        until = expires.isoformat() if expires else ""
        self._directory.write(session_id, _token_file(token), until)
        return token


def _interface(mock: type[mocks.Mock], protocol: str | None) -> InferenceInterface:
    speaking = {None: mock.interface, "json": mock.interface}
    interface = (speaking | {"openai": openai.interface_of(mock)}).get(protocol)
    if interface is None:
        raise ValueError(f"The mock {mock.name} does not speak {protocol!r:.60}.")
    return interface


def _token_file(token: str) -> str:
    """Return the file name of a token: its hash, so that the directory does not reveal it."""
    return "token-" + hashlib.sha256(str(token).encode()).hexdigest()


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
