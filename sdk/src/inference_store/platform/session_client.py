"""Calls of one session, by a token that reaches it alone."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import httpx2

from inference_store.adapters import create_pipeline
from inference_store.calls import API, Call, Steps, at, one, segment
from inference_store.errors import InferenceStoreError, UnexpectedAnswer
from inference_store.schema import InferenceInterface, InferenceSession

if TYPE_CHECKING:
    from inference_store.client import Client

INFER_SECONDS = 120.0  # longer than the proxy waits for a server
SESSIONS = "inferencesessions"


class InferenceSessionClient:
    """What asks a session; ``platform.inferencesessions.client`` makes it.

    The interface's pipelines are applied here, on the caller's side: what is given goes
    through the input pipeline, what is answered through the output pipeline.
    """

    def __init__(
        self,
        client: Client,
        session_id: str,
        token: str,
        interface: InferenceInterface | None = None,
        proxy_url: str | None = None,
    ) -> None:
        self.session_id = session_id
        self._client = client
        self._headers = {"Authorization": f"Bearer {token}"}
        self._input = create_pipeline(interface.inputPipeline if interface else None)
        self._output = create_pipeline(interface.outputPipeline if interface else None)
        self._endpoint = interface.endpoint if interface else None
        self._proxy_url = proxy_url or os.environ.get("ISTORE_PROXY_URL")

    def infer(self, request: Any, endpoint: str | None = None) -> list[Any]:
        """Ask, and wait for the answer.

        Parameters:
            request: JSON in the form that the input pipeline takes; in the service's own
                form if there is no interface.
            endpoint: the interface's unless given.

        Returns:
            The items that the output pipeline makes of the answer. Without one, the
            answer if it is a list, else a list of the answer alone.

        Raises:
            AdapterError: the request or the answer does not fit a pipeline.
            Unavailable: the session is starting; ask again.
            Conflict: ``session-terminated`` or ``session-failed``.
            InferenceStoreError: any other failure.
        """
        (asked,) = self._one(self._input([request]))
        answer = self._client.run(self._infer(asked, endpoint))
        items = answer if isinstance(answer, list) else [answer]
        return list(self._output(items))

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
        return f"InferenceSessionClient({self.session_id!r})"

    def _infer(self, asked: Any, endpoint: str | None) -> Steps[Any]:
        if self._proxy_url is None or (endpoint or self._endpoint) is None:
            session = yield self._session()
            told = (session.model_extra or {}).get("proxyUrl")
            self._proxy_url = self._proxy_url or told or self._client.url
            self._endpoint = (
                self._endpoint or session.inferenceService.interface.endpoint
            )
        named = endpoint or self._endpoint or ""
        path = "/".join(map(segment, named.split("/")))
        base = self._proxy_url.rstrip("/")
        answer = yield Call(
            "POST",
            f"{base}{API}{SESSIONS}/{segment(self.session_id)}/infer/{path}",
            _value,
            json.dumps(asked, ensure_ascii=False, allow_nan=False).encode(),
            headers={**self._headers, "Content-Type": "application/json"},
            is_signed=True,
            may_repeat=False,
            timeout=INFER_SECONDS,
        )
        return answer

    def _session(self) -> Call[InferenceSession]:
        return Call(
            "GET",
            at(SESSIONS, self.session_id),
            one(InferenceSession),
            headers=self._headers,
            is_signed=True,
        )

    def _one(self, items: Iterable[Any]) -> list[Any]:
        found = list(items)
        if len(found) != 1:
            raise InferenceStoreError(
                f"The input pipeline makes {len(found)} requests of one."
            )
        return found


def _value(response: httpx2.Response) -> Any:
    try:
        return json.loads(response.content)
    except ValueError:
        kind = response.headers.get("content-type", "nothing")
        raise UnexpectedAnswer(
            f"The session answered with {kind}, not with JSON.",
            status=response.status_code,
        ) from None
