"""A client of one session on a server, which calls it with the session's own token."""

from __future__ import annotations

import json
import os
from typing import Any

import httpx2

from inference_store.adapters import Adapter
from inference_store.adapters.clients import AdaptedClient
from inference_store.binding import Namespace
from inference_store.connection import plain_token
from inference_store.errors import UnexpectedAnswer
from inference_store.requests import API, Call, Steps, at, one, segment
from inference_store.schema import InferenceInterface, InferenceSession
from inference_store.sender import Sender

INFER_SECONDS = 120.0  # longer than the proxy waits for a server
SESSIONS = "inferencesessions"


class SessionCalls(AdaptedClient):
    """The requests of a session's client, shared by the blocking and the async client."""

    def __init__(
        self,
        session_id: str,
        token: str,
        proxy_url: str | None = None,
        **interface: Any,
    ) -> None:
        super().__init__(**interface)
        self.session_id = session_id
        self._token = token
        self._proxy_url = proxy_url or os.environ.get("ISTORE_PROXY_URL")

    def _ready_call(self) -> Call[bool]:
        return Call(
            "GET",
            at(SESSIONS, self.session_id, "ready"),
            lambda response: response.status_code in (200, 204),
            headers=_sign(self._token),
            is_signed=True,
        )

    def _infer_steps(self, request: Any, store_url: str) -> Steps[list[Any]]:
        body = json.dumps(
            self.adapt_request(request), ensure_ascii=False, allow_nan=False
        ).encode()
        if self._proxy_url is None:
            session = yield session_by_token(self.session_id, self._token)
            self._proxy_url = (session.model_extra or {}).get("proxyUrl") or store_url
        base = self._proxy_url.rstrip("/")
        path = "/".join(map(segment, self.endpoint.split("/")))
        answer = yield Call(
            "POST",
            f"{base}{API}{SESSIONS}/{segment(self.session_id)}/infer/{path}",
            _value,
            body,
            headers={**_sign(self._token), "Content-Type": "application/json"},
            is_signed=True,
            timeout=INFER_SECONDS,
        )
        return self.adapt_answer(answer)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.session_id!r})"


class RemoteSessionClient(SessionCalls):
    """A client that calls a session; ``platform.inferencesessions.client`` makes it."""

    def __init__(
        self, client: Sender, session_id: str, token: str, **interface: Any
    ) -> None:
        super().__init__(session_id, token, **interface)
        self._client = client

    def ready(self) -> bool:
        """Return whether the session can be called; False while it is starting.

        Raises:
            Conflict: ``session-terminated`` or ``session-failed``: it will never be ready.
            InferenceStoreError: any other failure.
        """
        return self._client.run(self._ready_call())

    def infer(self, request: Any) -> list[Any]:
        """Call the session, and return the items of its answer.

        Parameters:
            request: JSON in the form that the interface takes, such as ``{"text": …}``.

        Returns:
            The items of the answer, in the form that the interface gives.

        Raises:
            AdapterError: a pipeline cannot transform the request or the answer.
            Unavailable: the session is starting; try again.
            Conflict: the session has ended.
            NotAuthenticated: the token is not valid for this session.
            InferenceStoreError: any other failure.
        """
        return self._client.run(self._infer_steps(request, self._client.url))


class SessionClients(Namespace[Sender]):
    """The methods of ``client.inferencesessions`` that are no calls of the API."""

    def client(
        self,
        session_id: str,
        token: str,
        *,
        interface: InferenceInterface | None = None,
        endpoint: str | None = None,
        input_adapter: Adapter | None = None,
        output_adapter: Adapter | None = None,
        proxy_url: str | None = None,
    ) -> RemoteSessionClient:
        """Return a client that calls one session.

        Parameters:
            session_id: the session's id.
            token: a token of the session, or of its project.
            interface: the interface whose endpoint and pipelines are used.
            endpoint: replaces the interface's; with neither, the session's own is used.
            input_adapter: replaces the interface's input pipeline.
            output_adapter: replaces the interface's output pipeline.
            proxy_url: URL of the proxy; ``ISTORE_PROXY_URL`` when not given, else the one
                that the session names.

        Returns:
            The client; its ``infer(request)`` returns a list of items.
        """
        if interface is None and endpoint is None:
            session = self._sender.run(session_by_token(session_id, token))
            endpoint = session.inferenceService.interface.endpoint
        return RemoteSessionClient(
            self._sender,
            session_id,
            token,
            interface=interface,
            endpoint=endpoint,
            input_adapter=input_adapter,
            output_adapter=output_adapter,
            proxy_url=proxy_url,
        )


def session_by_token(session_id: str, token: str) -> Call[InferenceSession]:
    """Return the call that fetches the session with its own token."""
    return Call(
        "GET",
        at(SESSIONS, session_id),
        one(InferenceSession),
        headers=_sign(token),
        is_signed=True,
    )


def _sign(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {plain_token(token)}"}


def _value(response: httpx2.Response) -> Any:
    try:
        return json.loads(response.content)
    except ValueError:
        kind = response.headers.get("content-type", "nothing")
        raise UnexpectedAnswer(
            f"The session answered with {kind}, not with JSON.",
            status=response.status_code,
        ) from None
