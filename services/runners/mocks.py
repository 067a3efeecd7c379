"""Mocks: services that simulate, by the names of the client's registry.

They are the client's own (docs/decisions/0003), so a mock answers the same on a laptop
and behind the proxy. A name out of a request is looked up in the registry and never
becomes a class, a module or a path.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from services.runners import reading
from services.runners.reading import BadConfiguration


class MockFailure(Exception):
    """What a mock answers instead, with a status and a code of the API."""

    def __init__(self, message: str, status: int, code: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def mock_names() -> list[str]:
    from inference_store import mocks

    return sorted(mocks.registry)


@dataclass(frozen=True, slots=True)
class Mock:
    """One mock of the registry, with the options it was given."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Self:
        reading.check_names(given, ("mock", "options"))
        name = reading.choice(given, "mock", mock_names(), "")
        options = given.get("options") or {}
        if not isinstance(options, dict):
            raise BadConfiguration("options", "An object.")
        return cls(name, options)

    @property
    def interface(self) -> dict[str, Any]:
        from inference_store import mocks

        return mocks.registry[self.name].interface.model_dump(mode="json")

    async def answer(self, request: Any) -> Any:
        from inference_store import mocks

        return await asyncio.to_thread(mocks.registry[self.name]().infer, request)
