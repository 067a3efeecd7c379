"""The client of one session of the local platform."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from inference_store.adapters.clients import AdaptedClient

Send = Callable[[str, Any], Any]


class InferenceSessionClient(AdaptedClient):
    """A client that calls a session; ``inferencesessions.client(…)`` makes it.

    ``send(endpoint, request)`` sends the transformed request to the session and returns its
    answer.
    """

    def __init__(self, send: Send, **interface: Any) -> None:
        super().__init__(**interface)
        self._send = send

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
        return self.adapt_answer(self._send(self.endpoint, self.adapt_request(request)))
