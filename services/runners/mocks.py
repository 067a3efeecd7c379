"""The runner of mocks, by the names of the client's registry.

The mocks are those of the client (docs/decisions/0003), so a mock answers the same on a
laptop and behind the proxy. A name from a request is only looked up in the registry; it
never becomes a class, a module or a path. The registry is imported on first use, because
most processes of a store never need it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from services.runners import config_fields
from services.runners.config_fields import BadConfiguration

if TYPE_CHECKING:
    from inference_store.mocks import Mock as Simulation
    from inference_store.mocks import MockError


class MockFailure(Exception):
    """An error of a mock, with a status and a code of the API.

    ``body`` is the same error in the form of the protocol of the call, if it has one.
    """

    def __init__(self, message: str, status: int, code: str, body: Any = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.body = body


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer as server-sent events, spread evenly over its latency."""

    events: list[bytes]
    seconds: float

    async def pieces(self) -> AsyncIterator[bytes]:
        for event in self.events:
            await asyncio.sleep(self.seconds / len(self.events))
            yield event


def mock_titles() -> dict[str, str]:
    """Return the titles of all mocks by name."""
    from inference_store import mocks

    return {name: mock.title for name, mock in mocks.registry.items()}


@dataclass(frozen=True, slots=True)
class Mock:
    """A mock of the registry with its options."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Self:
        """Return the mock of a configuration. Raises BadConfiguration."""
        config_fields.check_names(given, ("mock", "options"))
        name, options = config_fields.text(given, "mock"), given.get("options") or {}
        if not isinstance(options, dict):
            raise BadConfiguration("options", "An object.")
        try:
            _find(name).Options(**options)
        except KeyError as error:
            raise BadConfiguration("mock", str(error.args[0])) from None
        except (ValueError, TypeError) as error:
            raise BadConfiguration("options", _describe(error)) from None
        return cls(name, options)

    @property
    def interface(self) -> dict[str, Any]:
        return _find(self.name).interface.model_dump(mode="json")

    @property
    def openai_interface(self) -> dict[str, Any] | None:
        """The interface with which it answers as OpenAI-compatible servers do, or None."""
        from inference_store.mocks import openai

        interface = openai.interface_of(_find(self.name))
        return interface.model_dump(mode="json") if interface else None

    @property
    def takes(self) -> str:
        """The kind of input: text, image or features."""
        return _find(self.name).takes

    def speaks_openai(self, endpoint: str) -> bool:
        """Return whether a service with this endpoint uses OpenAI's protocol."""
        from inference_store.mocks import openai

        return f"/{endpoint}" == openai.path_of(_find(self.name))

    def begin(self, endpoint: str) -> Simulated:
        return Simulated(self, endpoint)


class Simulated:
    """A running mock. It counts calls, because ``error_rate`` goes by the number of the call."""

    def __init__(self, mock: Mock, endpoint: str) -> None:
        kind = _find(mock.name)
        given = kind.Options(**mock.options)
        self._latency, self._jitter = given.latency, given.jitter
        # The latency is awaited here, so that waiting blocks no thread.
        self._simulation: Simulation = kind(
            **{**mock.options, "latency": 0, "jitter": 0}
        )
        self._openai_path = f"/{endpoint}" if mock.speaks_openai(endpoint) else ""

    async def answer(self, request: Any) -> Any:
        """Return JSON, or a ``Stream`` if the request asks for one. Raises MockFailure."""
        from inference_store.mocks import BadRequest, MockError

        seconds = self._latency + self._jitter * random.random()
        try:
            answer = await asyncio.to_thread(self._infer, request, seconds)
        except MockError as error:
            await asyncio.sleep(seconds)
            code = "simulated-failure"
            if isinstance(error, BadRequest):
                code = "validation-error"
            body = self._error_body(error)
            raise MockFailure(str(error), error.status, code, body) from None
        if not isinstance(answer, Stream):
            await asyncio.sleep(seconds)
        return answer

    def _infer(self, request: Any, seconds: float) -> Any:
        from inference_store.mocks import openai

        if not self._openai_path:
            return self._simulation.infer(request)
        call = self._simulation, self._openai_path, request
        if openai.is_streamed(self._simulation, request):
            return Stream(openai.events(*call), seconds)
        return openai.answer(*call)

    def _error_body(self, error: MockError) -> Any:
        from inference_store.mocks import openai

        if self._openai_path:
            return openai.error(str(error), error.status)
        return None


def _find(name: str) -> type[Simulation]:
    from inference_store import mocks

    return mocks.find(name)


def _describe(error: Exception) -> str:
    if callable(errors := getattr(error, "errors", None)):  # a pydantic error
        first = errors()[0]
        where = ".".join(str(each) for each in first["loc"])
        return f"{where}: {first['msg']}."
    return str(error)
