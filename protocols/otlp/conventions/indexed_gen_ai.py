"""OpenLLMetry's names, which LiteLLM and others write: ``gen_ai.prompt.0.content``.

https://github.com/traceloop/openllmetry
"""

from __future__ import annotations

from typing import Any

from protocols.otlp.chat import message_of
from protocols.otlp.draft import LLM, Draft, kind_of
from protocols.otlp.spans import Span
from protocols.otlp.values import from_json, nested, text_in

PROMPT, COMPLETION, FUNCTIONS = (
    "gen_ai.prompt.",
    "gen_ai.completion.",
    "llm.request.functions.",
)
ENTITY = "traceloop.entity."
OWN = (
    *(PROMPT, COMPLETION, FUNCTIONS, f"{ENTITY}input", f"{ENTITY}output"),
    *("traceloop.span.kind", "llm.request.type", "llm.usage."),
)


def read(span: Span, draft: Draft) -> bool:
    """Add what the span says; return whether it says anything by this convention."""
    given = span.attributes
    lists = nested(given, (PROMPT, COMPLETION, FUNCTIONS))
    is_entity = any(name.startswith("traceloop.") for name in given)
    if not lists and not is_entity:
        return False
    kind = kind_of(given.get("traceloop.span.kind"))
    is_call = given.get("llm.request.type") in ("chat", "completion") or PROMPT in lists
    said = _rows(lists, COMPLETION)
    draft.offer(
        kind=kind or (LLM if is_call else ""),
        messages=[m for each in _rows(lists, PROMPT) for m in message_of(_whole(each))],
        choices=[
            m
            for each in said
            for m in message_of({"role": "assistant", **_whole(each)})
        ],
        reasons=[text_in(e["finish_reason"]) for e in said if e.get("finish_reason")],
        tools=[_tool(each) for each in _rows(lists, FUNCTIONS)],
        input=given.get(f"{ENTITY}input"),
        output=given.get(f"{ENTITY}output"),
        session=text_in(given.get("traceloop.association.properties.session_id")),
        user=text_in(given.get("traceloop.association.properties.user_id")),
    )
    if is_entity:
        draft.offer(tool_name=text_in(given.get(f"{ENTITY}name")))
    draft.add_usage(total_tokens=given.get("llm.usage.total_tokens"))
    return True


def _rows(lists: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = lists.get(name)
    return (
        [each for each in found if isinstance(each, dict)]
        if isinstance(found, list)
        else []
    )


def _whole(given: dict[str, Any]) -> dict[str, Any]:
    """Return the message, whose parts may be JSON in its text."""
    content = given.get("content")
    parts = (
        from_json(content) if isinstance(content, str) and content[:2] == "[{" else None
    )
    is_parts = isinstance(parts, list) and all(
        isinstance(each, dict) and "type" in each for each in parts
    )
    return {**given, "content": parts} if is_parts else given


def _tool(given: dict[str, Any]) -> dict[str, Any]:
    function = {**given, "parameters": from_json(given.get("parameters"))}
    return {"type": "function", "function": function}
