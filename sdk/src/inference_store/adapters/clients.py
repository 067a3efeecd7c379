"""Clients of services pass requests and answers through the pipelines of an interface."""

from __future__ import annotations

from typing import Any

from inference_store.adapters.base import Adapter
from inference_store.adapters.errors import AdapterError
from inference_store.adapters.pipelines import create_pipeline
from inference_store.schema import InferenceInterface


class AdaptedClient:
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

    def adapt_request(self, request: Any) -> Any:
        """Return the request in the form that the service takes. Raises AdapterError."""
        requests = list(self._input([request]))
        if len(requests) != 1:
            raise AdapterError(
                ("input pipeline",), f"It makes {len(requests)} requests of one."
            )
        return requests[0]

    def adapt_answer(self, answer: Any) -> list[Any]:
        """Return the service's answer in the form of the interface. Raises AdapterError."""
        return list(self._output(answer if isinstance(answer, list) else [answer]))
