"""Calls of one session on a server, by a token that reaches it alone."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import httpx2

from inference_store.adapters import Adapter
from inference_store.calls import API, Call, at, one, segment
from inference_store.errors import UnexpectedAnswer
from inference_store.local.calling import InferenceSessionClient
from inference_store.schema import InferenceInterface, InferenceSession

if TYPE_CHECKING:
    from inference_store.client import Client

INFER_SECONDS = 120.0  # longer than the proxy waits for a server
SESSIONS = "inferencesessions"


class RemoteSessionClient(InferenceSessionClient):
    """What asks a session on a server; ``platform.inferencesessions.client`` makes it."""

    def __init__(
        self,
        client: Client,
        session_id: str,
        token: str,
        *,
        interface: InferenceInterface | None = None,
        endpoint: str | None = None,
        input_adapter: Adapter | None = None,
        output_adapter: Adapter | None = None,
        proxy_url: str | None = None,
    ) -> None:
        self.session_id = session_id
        self._client = client
        self._headers = {"Authorization": f"Bearer {token}"}
        self._proxy_url = proxy_url or os.environ.get("ISTORE_PROXY_URL")
        if interface is None and endpoint is None:
            endpoint = self._session().inferenceService.interface.endpoint
        super().__init__(
            self._ask,
            interface=interface,
            endpoint=endpoint,
            input_adapter=input_adapter,
            output_adapter=output_adapter,
        )

    def ready(self) -> bool:
        """Whether the session can be called; False while it is starting.

        Raises:
            Conflict: ``session-terminated`` or ``session-failed``, it will never be.
            InferenceStoreError: any other failure.
        """
        return self._client.run(
            Call(
                "GET",
                at(SESSIONS, self.session_id, "ready"),
                lambda response: response.status_code in (200, 204),
                headers=self._headers,
                is_signed=True,
            )
        )

    def __repr__(self) -> str:
        return f"RemoteSessionClient({self.session_id!r})"

    def _ask(self, endpoint: str, request: Any) -> Any:
        if self._proxy_url is None:
            told = (self._session().model_extra or {}).get("proxyUrl")
            self._proxy_url = told or self._client.url
        path = "/".join(map(segment, endpoint.split("/")))
        base = self._proxy_url.rstrip("/")
        return self._client.run(
            Call(
                "POST",
                f"{base}{API}{SESSIONS}/{segment(self.session_id)}/infer/{path}",
                _value,
                json.dumps(request, ensure_ascii=False, allow_nan=False).encode(),
                headers={**self._headers, "Content-Type": "application/json"},
                is_signed=True,
                timeout=INFER_SECONDS,
            )
        )

    def _session(self) -> InferenceSession:
        return self._client.run(
            Call(
                "GET",
                at(SESSIONS, self.session_id),
                one(InferenceSession),
                headers=self._headers,
                is_signed=True,
            )
        )


def _value(response: httpx2.Response) -> Any:
    try:
        return json.loads(response.content)
    except ValueError:
        kind = response.headers.get("content-type", "nothing")
        raise UnexpectedAnswer(
            f"The session answered with {kind}, not with JSON.",
            status=response.status_code,
        ) from None
