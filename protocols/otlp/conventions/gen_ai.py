"""OpenTelemetry's own conventions for generative AI, as attributes and as events of spans.

https://opentelemetry.io/docs/specs/semconv/gen-ai/
"""

from __future__ import annotations

from typing import Any

from protocols.otlp.chat import message_of, messages_of
from protocols.otlp.draft import (
    AGENT,
    CHAIN,
    EMBEDDING,
    LLM,
    RETRIEVER,
    TOOL,
    Draft,
)
from protocols.otlp.spans import Event, Span
from protocols.otlp.values import (
    from_json,
    list_in,
    number_in,
    object_in,
    text_in,
)

OPERATIONS = {
    **{"chat": LLM, "text_completion": LLM, "generate_content": LLM, "completion": LLM},
    **{"embeddings": EMBEDDING, "embedding": EMBEDDING, "execute_tool": TOOL},
    **{"create_agent": AGENT, "invoke_agent": AGENT, "invoke_workflow": CHAIN},
    **{"retrieval": RETRIEVER, "responses": LLM},
}
REQUEST = "gen_ai.request."
# Our names of parameters, where the convention has others.
PARAMETERS = {
    "stop_sequences": "stop",
    "choice.count": "n",
    "encoding_formats": "encoding_format",
}
OWN = (
    *("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.system", REQUEST),
    *("gen_ai.response.", "gen_ai.usage.", "gen_ai.input.", "gen_ai.output."),
    *("gen_ai.system_instructions", "gen_ai.tool.", "gen_ai.conversation.id"),
    *("gen_ai.cost.", "gen_ai.content."),
)
MESSAGES = {
    "gen_ai.system.message": "system",
    "gen_ai.user.message": "user",
    "gen_ai.assistant.message": "assistant",
    "gen_ai.tool.message": "tool",
}


def read(span: Span, draft: Draft) -> bool:
    """Add what the span says; return whether it says anything by this convention."""
    given = span.attributes
    has_events = any(each.name.startswith("gen_ai.") for each in span.events)
    if not has_events and not any(name.startswith("gen_ai.") for name in given):
        return False
    draft.offer(
        kind=OPERATIONS.get(text_in(given.get("gen_ai.operation.name")), ""),
        model=text_in(given.get("gen_ai.request.model")),
        version=text_in(given.get("gen_ai.response.model")),
        provider=text_in(
            given.get("gen_ai.provider.name") or given.get("gen_ai.system")
        ),
        session=text_in(given.get("gen_ai.conversation.id")),
        request_id=text_in(given.get("gen_ai.response.id")),
        reasons=[
            text_in(e) for e in list_in(given.get("gen_ai.response.finish_reasons"))
        ],
        tools=list_in(given.get("gen_ai.tool.definitions")),
        tool_name=text_in(given.get("gen_ai.tool.name")),
        tool_call_id=text_in(given.get("gen_ai.tool.call.id")),
        cost=number_in(given.get("gen_ai.usage.cost")),
        user=text_in(
            given.get("user.id") or given.get("enduser.id") or given.get("llm.user")
        ),
    )
    if draft.cost is None:
        draft.offer(cost=number_in(given.get("gen_ai.cost.total_cost")))
    if draft.kind == TOOL:
        draft.offer(
            input=given.get("gen_ai.tool.call.arguments"),
            output=given.get("gen_ai.tool.call.result"),
        )
    _read_messages(given, draft)
    for event in span.events:
        _read_event(event, draft)
    _read_usage(given, draft)
    draft.add_parameters(
        {
            PARAMETERS.get(short, short): value
            for name, value in given.items()
            if name.startswith(REQUEST)
            and (short := name.removeprefix(REQUEST)) not in ("model", "is_stream")
        }
    )
    return True


def _read_messages(given: Any, draft: Draft) -> None:
    """Add the messages of attributes, on the span or on an event of it."""
    asked = messages_of(given.get("gen_ai.input.messages"))
    system = from_json(given.get("gen_ai.system_instructions"))
    if system:
        parts = (
            system
            if isinstance(system, list)
            else [{"type": "text", "content": system}]
        )
        asked = [*message_of({"role": "system", "parts": parts}), *asked]
    draft.offer(messages=asked)
    said = list_in(given.get("gen_ai.output.messages"))
    draft.offer(
        choices=messages_of(said),
        reasons=[
            text_in(each["finish_reason"])
            for each in said
            if isinstance(each, dict) and each.get("finish_reason")
        ],
    )


def _read_event(event: Event, draft: Draft) -> None:
    if not event.name.startswith("gen_ai."):
        return
    given = {
        **event.attributes,
        **object_in(event.attributes.get("gen_ai.event.content")),
    }
    if role := MESSAGES.get(event.name):
        draft.messages += message_of(
            {
                "role": role,
                **_without_prefix(given),
                "tool_calls": given.get("tool_calls"),
            }
        )
    elif event.name == "gen_ai.choice":
        inner = object_in(given.get("message")) or _without_prefix(given)
        draft.choices += message_of({"role": "assistant", **inner})
        if reason := given.get("finish_reason"):
            draft.reasons.append(text_in(reason))
    elif event.name == "gen_ai.content.prompt":
        draft.offer(messages=_messages_or_text(given.get("gen_ai.prompt"), "user"))
    elif event.name == "gen_ai.content.completion":
        said = _messages_or_text(given.get("gen_ai.completion"), "assistant")
        draft.offer(choices=said)
    else:  # gen_ai.client.inference.operation.details
        _read_messages(given, draft)


def _without_prefix(given: dict[str, Any]) -> dict[str, Any]:
    names = ("role", "content", "name", "id", "tool_calls", "parts")
    return {name: given[name] for name in names if given.get(name) is not None}


def _messages_or_text(value: Any, role: str) -> list[dict[str, Any]]:
    if value is None:
        return []
    return messages_of(value) or [{"role": role, "content": text_in(value)}]


def _read_usage(given: Any, draft: Draft) -> None:
    usage = {
        name.removeprefix("gen_ai.usage."): value
        for name, value in given.items()
        if name.startswith("gen_ai.usage.")
    }
    draft.add_usage(
        prompt_tokens=usage.get("input_tokens", usage.get("prompt_tokens")),
        completion_tokens=usage.get("output_tokens", usage.get("completion_tokens")),
        total_tokens=usage.get("total_tokens"),
        cached_tokens=usage.get(
            "cache_read.input_tokens", usage.get("cache_read_input_tokens")
        ),
        cache_write_tokens=usage.get(
            "cache_creation.input_tokens", usage.get("cache_creation_input_tokens")
        ),
        reasoning_tokens=usage.get("reasoning.output_tokens"),
    )
