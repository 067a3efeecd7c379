"""The base of all mocks: an interface, and simulated answers that a seed determines."""

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
    """An error that a mock answers with; ``status`` is its HTTP status."""

    status = 500


class BadRequest(MockError, ValueError):
    """The mock cannot answer this request."""

    status = 400


class SimulatedFailure(MockError):
    """A failure that ``error_rate`` asked for."""

    status = 503


class Options(RequestModel):
    """The options of a mock.

    ``latency`` is the seconds that an answer takes, ``jitter`` the most seconds that are
    added at random, and ``error_rate`` the fraction of calls that fail. The same seed and
    request give the same answer; which calls fail depends on the seed and the call's number.
    """

    seed: int = Field(0, ge=0, lt=2**63)
    latency: float = Field(0.0, ge=0, le=60)
    jitter: float = Field(0.0, ge=0, le=60)
    error_rate: float = Field(0.0, ge=0, le=1)


class Mock(ABC):
    """A simulated service: ``TextCompletion(seed=3).infer({"text": "A ship"})``.

    Raises ``ValueError`` for an option that is unknown or not valid.
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
        """Return the answer to a request, after the latency that the options set.

        Raises:
            BadRequest: the mock cannot answer the request; the message says why.
            SimulatedFailure: ``error_rate`` made this call fail.
        """
        # Threads may share a mock; the lock keeps its random numbers in the order of calls.
        with self._lock:
            wait = self.options.latency + self.options.jitter * self._luck.random()
            fails = self._luck.random() < self.options.error_rate
        if wait:
            time.sleep(wait)
        if fails:
            raise SimulatedFailure(
                f"A failure of {self.name}, simulated by error_rate."
            )
        if not isinstance(request, dict):
            raise BadRequest("The request is an object.")
        return self.answer(request)

    @abstractmethod
    def answer(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the simulated answer."""

    def dice(self, *content: Any) -> random.Random:
        """Return a random generator that is the same for the same seed and content."""
        digest = hashlib.sha256(f"{self.options.seed} {self.name}".encode())
        for part in content:
            encoded = part if isinstance(part, bytes) else _canonical(part)
            digest.update(len(encoded).to_bytes(8, "big") + encoded)
        return random.Random(digest.digest())


def _canonical(value: Any) -> bytes:
    """Return the same bytes for equal JSON. Raises BadRequest if the value is not JSON."""
    try:
        return json.dumps(value, sort_keys=True).encode()
    except (TypeError, ValueError, RecursionError):
        raise BadRequest("The request is not JSON.") from None


def interface(endpoint: str, item: dict[str, Any]) -> InferenceInterface:
    """Return an interface whose answer is a list of such items."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "array",
        "items": item,
    }
    return InferenceInterface(endpoint=endpoint, outputSchema=schema)


def members(optional: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    """Return the JSON schema of an object with these members and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


SCORE = {"type": "number", "minimum": 0, "maximum": 1}
TEXT = {"type": "string"}
NUMBER = {"type": "number"}
