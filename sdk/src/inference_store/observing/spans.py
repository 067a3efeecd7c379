"""Spans: one call of an observed function, and how OTLP writes it.

Attributes have the names of OpenInference:
https://github.com/Arize-ai/openinference/blob/main/spec/semantic_conventions.md
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from inference_store.observing.values import Bounded

TEXT_MAX = 1_000_000  # characters of an input or an output
KINDS = frozenset(
    {"chain", "llm", "tool", "agent", "retriever", "embedding", "reranker"}
)
ERROR, OK = 2, 1
Redact = Callable[[str, Any], Any]

_current: ContextVar[Span | None] = ContextVar("inference_store_span", default=None)


@dataclass
class Span:
    """A call while it runs: what it may tell of itself besides its input and output."""

    name: str
    kind: str
    model: str | None = None
    parent: Span | None = None
    session: str | None = None
    user: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    input: Any = None
    output: Any = None
    error: BaseException | None = None
    started: int = field(default_factory=time.time_ns)
    span_id: str = field(default_factory=lambda: secrets.token_hex(8))
    trace_id: str = ""
    is_sampled: bool = True

    def __post_init__(self) -> None:
        if self.parent is not None:
            self.trace_id = self.parent.trace_id
            self.is_sampled = self.parent.is_sampled
            self.session = self.session or self.parent.session
            self.user = self.user or self.parent.user
        self.trace_id = self.trace_id or secrets.token_hex(16)

    def set(
        self,
        *,
        session: str | None = None,
        user: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Say whose call this is; calls that begin within it from now on say the same."""
        self.session, self.user = session or self.session, user or self.user
        self.metadata.update(metadata or {})

    def to_otlp(self, redact: Redact | None = None) -> bytes:
        """Return the ended span as the JSON of OTLP. ``redact`` may change what was said."""
        attributes: dict[str, str] = {"openinference.span.kind": self.kind.upper()}
        for side, value in (("input", self.input), ("output", self.output)):
            if value is None and side == "output" and self.error is not None:
                continue
            bounded = Bounded(TEXT_MAX)
            said = redact(side, value) if redact else value
            if isinstance(said, str):
                attributes[f"{side}.value"] = json.loads(bounded.write(said))
                attributes[f"{side}.mime_type"] = "text/plain"
            else:
                attributes[f"{side}.value"] = bounded.write(said)
                attributes[f"{side}.mime_type"] = "application/json"
            if bounded.is_cut:
                self.metadata[f"{side}_is_cut"] = True
        for name, told in (
            ("llm.model_name", self.model),
            ("session.id", self.session),
            ("user.id", self.user),
        ):
            if told:
                attributes[name] = told
        if self.metadata:
            attributes["metadata"] = Bounded(TEXT_MAX).write(self.metadata)
        span: dict[str, Any] = {
            "traceId": self.trace_id,
            "spanId": self.span_id,
            "name": self.name[:500],
            "kind": 1,
            "startTimeUnixNano": str(self.started),
            "endTimeUnixNano": str(max(time.time_ns(), self.started)),
            "attributes": [
                {"key": key, "value": {"stringValue": value}}
                for key, value in attributes.items()
            ],
            "status": {"code": OK},
        }
        if self.parent is not None:
            span["parentSpanId"] = self.parent.span_id
        if self.error is not None:
            text = json.loads(Bounded(2_000).write(said_by(self.error)))
            span["status"] = {"code": ERROR, "message": text}
        # Half a surrogate pair in a name or an id becomes its escape, which JSON can hold.
        return json.dumps(span, ensure_ascii=False).encode("utf-8", "backslashreplace")


def said_by(error: BaseException) -> str:
    """Return the type of an error and what it says; its type alone if it cannot say it."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return type(error).__name__


def current_span() -> Span | None:
    """Return the span of the innermost observed call that runs here, or None."""
    return _current.get()
