"""What functions need of a client, so that they need not import the clients themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

from inference_store.model_calls import Answer, CustomMetadata
from inference_store.requests import Plan

T = TypeVar("T")


class Sender(Protocol):
    """A blocking client."""

    @property
    def url(self) -> str: ...

    def run(self, plan: Plan[T]) -> T: ...

    def serve(self, resource: Any) -> ServedModel: ...

    def close(self) -> None: ...


class AsyncSender(Protocol):
    """An asynchronous client."""

    @property
    def url(self) -> str: ...

    async def run(self, plan: Plan[T]) -> T: ...


class ServedModel(Protocol):
    """A model that a blocking client calls through the proxy."""

    resource: Any

    def set_inference_server_settings(self, settings: Mapping[str, Any]) -> None: ...

    def _call(
        self,
        action: str,
        data: Any,
        custom_metadata: CustomMetadata,
        inference_id: str | None,
    ) -> Answer: ...
