"""A client of one session: requests and answers pass through the interface's pipelines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from inference_store.adapters import Adapter, AdapterError, create_pipeline
from inference_store.schema import InferenceInterface

Send = Callable[[str, Any], Any]


class Interfaced:
    """The base of session clients: transforms requests and answers by pipelines of adapters."""

    def __init__(
        self,
        *,
        interface: InferenceInterface | None = None,
        endpoint: str | None = None,
        input_adapter: Adapter | None = None,
        output_adapter: Adapter | None = None,
    ) -> None:
        if interface is not None:
            endpoint = endpoint or interface.endpoint
            if input_adapter is None:
                input_adapter = create_pipeline(interface.inputPipeline)
            if output_adapter is None:
                output_adapter = create_pipeline(interface.outputPipeline)
        if not endpoint:
            raise ValueError("Either an interface or an endpoint is needed.")
        self.endpoint = endpoint
        self._input = input_adapter or create_pipeline(None)
        self._output = output_adapter or create_pipeline(None)

    def adapted(self, request: Any) -> Any:
        """Return the request in the form that the service takes. Raises AdapterError."""
        asked = list(self._input([request]))
        if len(asked) != 1:
            raise AdapterError(
                ("input pipeline",), f"It makes {len(asked)} requests of one."
            )
        return asked[0]

    def items(self, said: Any) -> list[Any]:
        """Return the service's answer in the form of the interface. Raises AdapterError."""
        return list(self._output(said if isinstance(said, list) else [said]))


class InferenceSessionClient(Interfaced):
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
        return self.items(self._send(self.endpoint, self.adapted(request)))
