"""Traces: what an application called, as spans, each of which is an inference."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from inference_store.models.base import AnswerModel, RequestModel


class TraceQuery(RequestModel):
    """What traces are asked for.

    ``model``, ``service``, ``session``, ``kind`` and ``name`` (a part of it, in upper or lower
    case) are those of one span of the trace. ``status`` is ``error`` if a span failed, ``ok``
    if none did. ``start`` and ``end`` bound the first span.
    """

    start: datetime | str | None = None
    end: datetime | str | None = None
    model: str | None = None
    service: str | None = None
    session: str | None = None
    kind: str | None = None
    status: str | None = None
    name: str | None = None
    least_seconds: float | None = None
    most_seconds: float | None = None


class TraceSummary(AnswerModel):
    """A trace in a list; ``duration`` is in seconds, from the first span to the end of the last."""

    trace_id: str
    name: str
    started_at: datetime
    ended_at: datetime
    duration: float
    span_count: int
    error_count: int = 0
    models: list[str] = Field(default_factory=list)
    services: list[str] = Field(default_factory=list)
    sessions: list[str] = Field(default_factory=list)


class SpanCost(AnswerModel):
    """What spans cost; the currency is empty where the application stated the amount."""

    amount: float
    currency: str = ""


class TraceSpan(AnswerModel):
    """A span in its trace. ``model_id`` and ``inference_id`` name the inference that it is."""

    span_id: str
    parent_id: str | None = None
    depth: int = 0
    is_orphan: bool = False
    name: str
    kind: str
    model_id: str
    inference_id: str
    started_at: datetime
    ended_at: datetime
    duration: float
    is_error: bool = False
    message: str = ""
    service: str = ""
    session: str = ""
    user: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    cost: SpanCost | None = None


class Trace(AnswerModel):
    """A trace with its spans, each behind the one that called it; ``depth`` says how deep it is.

    ``is_cut``: the trace has more spans than these.
    """

    trace_id: str
    name: str
    started_at: datetime
    ended_at: datetime
    duration: float
    span_count: int
    error_count: int = 0
    total_tokens: int | None = None
    costs: list[SpanCost] = Field(default_factory=list)
    is_cut: bool = False
    spans: list[TraceSpan] = Field(default_factory=list)

    @property
    def roots(self) -> list[TraceSpan]:
        """The spans that no other span here called."""
        return [span for span in self.spans if span.depth == 0]

    def children(self, span: TraceSpan) -> list[TraceSpan]:
        """Return the spans that a span called directly, by their beginning."""
        at = next(n for n, each in enumerate(self.spans) if each is span)
        found = []
        for each in self.spans[at + 1 :]:
            if each.depth <= span.depth:
                break
            if each.depth == span.depth + 1:
                found.append(each)
        return found
