"""What every mock is: an interface, and simulated answers that a seed decides."""

from __future__ import annotations

import hashlib
import json
import random
import time
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

from pydantic import Field

from inference_store.forks import ForkSafeLock
from inference_store.models.base import RequestModel
from inference_store.schema import InferenceInterface


class MockError(Exception):
    """What a mock says instead of an answer; ``status`` is the one of HTTP."""

    status = 500


class BadRequest(MockError, ValueError):
    """The request is none that the mock can answer."""

    status = 400


class SimulatedFailure(MockError):
    """A failure that ``error_rate`` asked for."""

    status = 503


class Options(RequestModel):
    """How a mock behaves.

    ``latency`` are seconds an answer takes, ``jitter`` up to how many more,
    ``error_rate`` the part of calls that fail. The same seed and request give the same
    answer; which calls fail goes by the seed and the number of the call.
    """

    seed: int = Field(0, ge=0, lt=2**63)
    latency: float = Field(0.0, ge=0, le=60)
    jitter: float = Field(0.0, ge=0, le=60)
    error_rate: float = Field(0.0, ge=0, le=1)


class Mock(ABC):
    """A service that simulates: ``TextCompletion(seed=3).infer({"text": "A ship"})``.

    Raises ``ValueError`` for an option that it does not have or cannot take.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    takes: ClassVar[Literal["text", "image", "features"]]
    interface: ClassVar[InferenceInterface]
    Options: ClassVar[type[Options]] = Options

    def __init__(self, **options: Any) -> None:
        self.options = self.Options(**options)
        self._lock = ForkSafeLock()
        self._luck = random.Random(f"{self.options.seed} {self.name}")

    def infer(self, request: Any) -> list[dict[str, Any]]:
        """The answer to a request, after the time that the options ask for.

        Raises:
            BadRequest: it is not a request of this mock; the message says why.
            SimulatedFailure: the options ask for failures.
        """
        with self._lock:  # calls of several threads
            wait = self.options.latency + self.options.jitter * self._luck.random()
            fails = self._luck.random() < self.options.error_rate
        if wait:
            time.sleep(wait)
        if fails:
            raise SimulatedFailure(f"{self.name} was asked to fail now and then.")
        if not isinstance(request, dict):
            raise BadRequest("The request is an object.")
        return self.answer(request)

    @abstractmethod
    def answer(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        """The simulated answer."""

    def dice(self, *content: Any) -> random.Random:
        """Chance that is the same for the same seed and content."""
        digest = hashlib.sha256(f"{self.options.seed} {self.name}".encode())
        for part in content:
            said = part if isinstance(part, bytes) else _canonical(part)
            digest.update(len(said).to_bytes(8, "big") + said)
        return random.Random(digest.digest())


def _canonical(value: Any) -> bytes:
    """The same for equal JSON. Raises BadRequest for what is none."""
    try:
        return json.dumps(value, sort_keys=True).encode()
    except (TypeError, ValueError, RecursionError):
        raise BadRequest("The request is not JSON.") from None


def interface(endpoint: str, item: dict[str, Any]) -> InferenceInterface:
    """An interface whose answer is a list of such items."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "array",
        "items": item,
    }
    return InferenceInterface(endpoint=endpoint, outputSchema=schema)


def members(optional: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    """The schema of an object with these members and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


SCORE = {"type": "number", "minimum": 0, "maximum": 1}
TEXT = {"type": "string"}
NUMBER = {"type": "number"}
