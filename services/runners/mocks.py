"""Mocks: services that simulate, by the names of the client's registry.

They are the client's own (docs/decisions/0003), so a mock answers the same on a laptop
and behind the proxy. A name out of a request is looked up in the registry and never
becomes a class, a module or a path. The registry is loaded when the first mock is asked
for: most processes of a store never need it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from services.runners import reading
from services.runners.reading import BadConfiguration

if TYPE_CHECKING:
    from inference_store.mocks import Mock as Simulation


class MockFailure(Exception):
    """What a mock says instead of an answer, with a status and a code of the API."""

    def __init__(self, message: str, status: int, code: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def mock_titles() -> dict[str, str]:
    """What there is to choose from: names and what people call them."""
    from inference_store import mocks

    return {name: mock.title for name, mock in mocks.registry.items()}


@dataclass(frozen=True, slots=True)
class Mock:
    """One mock of the registry, with the options it was given."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Self:
        """Raises BadConfiguration."""
        reading.check_names(given, ("mock", "options"))
        name, options = reading.text(given, "mock"), given.get("options") or {}
        if not isinstance(options, dict):
            raise BadConfiguration("options", "An object.")
        try:
            _find(name).Options(**options)
        except KeyError as error:
            raise BadConfiguration("mock", str(error.args[0])) from None
        except (ValueError, TypeError) as error:
            raise BadConfiguration("options", _told(error)) from None
        return cls(name, options)

    @property
    def interface(self) -> dict[str, Any]:
        return _find(self.name).interface.model_dump(mode="json")

    @property
    def takes(self) -> str:
        """What it is asked about: text, image or features."""
        return _find(self.name).takes

    def begin(self) -> Simulated:
        return Simulated(self)


class Simulated:
    """A mock at work: which of its calls fail goes by the number of the call."""

    def __init__(self, mock: Mock) -> None:
        self.mock = mock
        kind = _find(mock.name)
        given = kind.Options(**mock.options)
        self._latency, self._jitter = given.latency, given.jitter
        # The time is waited for here, where waiting holds no thread.
        self._simulation: Simulation = kind(
            **{**mock.options, "latency": 0, "jitter": 0}
        )

    async def answer(self, request: Any) -> Any:
        """Raises MockFailure."""
        from inference_store.mocks import BadRequest, MockError

        if wait := self._latency + self._jitter * random.random():
            await asyncio.sleep(wait)
        try:
            return await asyncio.to_thread(self._simulation.infer, request)
        except BadRequest as error:
            raise MockFailure(str(error), 400, "validation-error") from None
        except MockError as error:
            raise MockFailure(str(error), error.status, "simulated-failure") from None


def _find(name: str) -> type[Simulation]:
    from inference_store import mocks

    return mocks.find(name)


def _told(error: Exception) -> str:
    if callable(told := getattr(error, "errors", None)):  # pydantic's
        first = told()[0]
        where = ".".join(str(each) for each in first["loc"])
        return f"{where}: {first['msg']}."
    return str(error)
