"""Langfuse's attributes: inputs and outputs are JSON in texts.

https://langfuse.com/integrations/native/opentelemetry
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from protocols.otlp.chat import is_answer, is_request, messages_of
from protocols.otlp.draft import EMBEDDING, LLM, Draft, kind_of
from protocols.otlp.spans import Span
from protocols.otlp.values import (
    from_json,
    list_in,
    load,
    number_in,
    object_in,
    text_in,
)

BEGINNING, OBSERVATION, TRACE = "langfuse.", "langfuse.observation.", "langfuse.trace."
OWN = (
    *(f"{OBSERVATION}input", f"{OBSERVATION}output", f"{OBSERVATION}type"),
    *(f"{OBSERVATION}model.", f"{OBSERVATION}usage_details"),
    *(f"{OBSERVATION}cost_details", f"{OBSERVATION}metadata", f"{OBSERVATION}level"),
    *(f"{OBSERVATION}metadata.", f"{TRACE}metadata."),
    *(f"{OBSERVATION}status_message", f"{TRACE}metadata", f"{TRACE}tags"),
    *("langfuse.session.id", "langfuse.user.id", "session.id", "user.id"),
    *("langfuse.environment", f"{OBSERVATION}completion_start_time"),
)
DETAILS = {
    "cached_tokens": ("cache_read_input_tokens", "input_cached_tokens"),
    "reasoning_tokens": ("output_reasoning_tokens",),
}


def read(span: Span, draft: Draft) -> bool:
    """Add what the span says; return whether it says anything by this convention."""
    given = span.attributes
    if not any(name.startswith(BEGINNING) for name in given):
        return False
    asked = from_json(given.get(f"{OBSERVATION}input"))
    said = from_json(given.get(f"{OBSERVATION}output"))
    usage = object_in(given.get(f"{OBSERVATION}usage_details"))
    kind = kind_of(given.get(f"{OBSERVATION}type"))
    draft.offer(
        kind=kind,
        model=text_in(given.get(f"{OBSERVATION}model.name")),
        session=text_in(given.get("langfuse.session.id") or given.get("session.id")),
        user=text_in(given.get("langfuse.user.id") or given.get("user.id")),
        environment=text_in(given.get("langfuse.environment")),
        tags=[text_in(each) for each in list_in(given.get(f"{TRACE}tags"))],
        cost=number_in(object_in(given.get(f"{OBSERVATION}cost_details")).get("total")),
        message=text_in(given.get(f"{OBSERVATION}status_message")),
        first_token_at=_moment(given.get(f"{OBSERVATION}completion_start_time")),
        metadata=_metadata(span),
    )
    if kind in (LLM, EMBEDDING):
        draft.offer(
            request=asked if is_request(asked) else {},
            answer=said if is_answer(said) else {},
            messages=messages_of(asked),
            choices=messages_of(said) if kind == LLM else [],
        )
        if isinstance(asked, dict):
            draft.offer(tools=list_in(asked.get("tools")))
    draft.is_error |= given.get(f"{OBSERVATION}level") == "ERROR"
    draft.offer(
        input=given.get(f"{OBSERVATION}input"), output=given.get(f"{OBSERVATION}output")
    )
    draft.add_parameters(object_in(given.get(f"{OBSERVATION}model.parameters")))
    draft.add_usage(
        prompt_tokens=usage.get("input", usage.get("prompt_tokens")),
        completion_tokens=usage.get("output", usage.get("completion_tokens")),
        total_tokens=usage.get("total", usage.get("total_tokens")),
        **{
            name: next((usage[w] for w in words if w in usage), None)
            for name, words in DETAILS.items()
        },
    )
    return True


def _metadata(span: Span) -> dict[str, Any]:
    """Return the metadata of the observation before that of its trace, by their own names."""
    found: dict[str, Any] = {}
    for beginning in (f"{OBSERVATION}metadata", f"{TRACE}metadata"):
        for name, value in span.attributes.items():
            if name == beginning:
                found |= {n: v for n, v in object_in(value).items() if n not in found}
            elif name.startswith(f"{beginning}."):
                found.setdefault(name.removeprefix(f"{beginning}."), _unquoted(value))
    return {
        n: v
        for n, v in found.items()
        if n not in ("attributes", "resourceAttributes", "scope")
    }


def _unquoted(value: Any) -> Any:
    """Return a metadata value without the quotes that JSON gives a text."""
    if isinstance(value, str) and value[:1] == value[-1:] == '"' and len(value) > 1:
        try:
            return load(value)
        except ValueError:
            return value
    return from_json(value)


def _moment(value: Any) -> int | None:
    """Return a time in ISO 8601, which is quoted as JSON is, in nanoseconds since 1970."""
    text = value.strip('"').replace("Z", "+00:00") if isinstance(value, str) else ""
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1_000_000) * 1000
    except (ValueError, OverflowError):
        return None
