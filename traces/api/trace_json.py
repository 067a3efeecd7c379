"""A trace as the API writes it (``serializers.TraceSerializer`` describes the form)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from inferences.models import TokenPrice
from istore.json_text import format_moment
from traces.costs import Cost, costs_of, sums_of
from traces.tree import Node, Trace


def trace_to_json(trace: Trace, prices: Sequence[TokenPrice]) -> dict[str, Any]:
    """Return the trace with its spans in reading order, and its sums."""
    costs = costs_of(trace.nodes, prices)
    tokens = trace.total("total_tokens")
    return {
        "trace_id": trace.trace_id,
        "name": trace.name,
        "started_at": _time(trace.started_at),
        "ended_at": _time(trace.ended_at),
        "duration": trace.took.total_seconds(),
        "span_count": len(trace.nodes),
        "error_count": trace.error_count,
        "total_tokens": None if tokens is None else int(tokens),
        "costs": [_cost(each) for each in sums_of(trace.nodes, costs)],
        "is_cut": trace.is_cut,
        "spans": [_span(node, costs.get(id(node))) for node in trace.nodes],
    }


def _span(node: Node, cost: Cost | None) -> dict[str, Any]:
    span = node.span
    return {
        "span_id": span.span_hex,
        "parent_id": bytes(span.parent_id).hex() if span.parent_id else None,
        "depth": node.depth,
        "is_orphan": node.is_orphan,
        "name": span.name,
        "kind": span.kind,
        "model_id": node.model.model_id,
        "inference_id": node.inference_id,
        "started_at": _time(span.started_at),
        "ended_at": _time(span.ended_at),
        "duration": node.took.total_seconds(),
        "is_error": span.is_error,
        "message": node.fact("status_message") if span.is_error else "",
        "service": node.fact("service"),
        "session": node.fact("conversation_id"),
        "user": node.fact("user_id"),
        "prompt_tokens": _count(node, "prompt_tokens"),
        "completion_tokens": _count(node, "completion_tokens"),
        "total_tokens": _count(node, "total_tokens"),
        "cost": _cost(cost) if cost else None,
    }


def _count(node: Node, name: str) -> int | None:
    number = node.number(name)
    return int(number) if number is not None and 0 <= number < 2**53 else None


def _cost(cost: Cost) -> dict[str, Any]:
    return {"amount": float(cost.amount), "currency": cost.currency}


def _time(moment: datetime) -> str:
    return format_moment(moment)
