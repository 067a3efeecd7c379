"""Read what a span says of a model: one value, whichever conventions it was written in.

The request is JSON as a client of the model would send it: a request of OpenAI's chat with
``messages`` wherever the conventions give messages, or the whole request of another protocol where
the span has that. The answer is a completion of OpenAI's chat, the whole answer of another
protocol, embeddings, or a ranking.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from protocols.otlp.chat import Message, as_choices, as_request
from protocols.otlp.conventions import CONVENTIONS, OWN, OWN_PREFIXES
from protocols.otlp.draft import (
    EMBEDDING,
    LLM,
    RERANKER,
    RETRIEVER,
    SPAN,
    TOOL,
    Draft,
)
from protocols.otlp.spans import Span
from protocols.otlp.values import bounded_texts, dump, from_json, text_in

REST_CHARS = 4000  # of one attribute that is kept beside
REST_MAX = 200  # attributes that are kept beside
EVENTS_MAX = 50
ENVIRONMENTS = ("deployment.environment.name", "deployment.environment")
JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reading:
    """A span as an inference: what was asked, what was answered, and the facts about both."""

    kind: str
    model: str
    version: str
    provider: str
    service: str
    request: JsonObject
    answer: Any  # None without one
    vector: list[Any] | None
    usage: dict[str, int]
    cost: float | None
    parameters: JsonObject
    session: str
    user: str
    request_id: str
    environment: str
    metadata: JsonObject
    tags: list[str]
    time_to_first_token: float | None  # seconds
    is_error: bool
    message: str
    conventions: list[str]
    rest: JsonObject  # what no convention took, and the events

    @property
    def vector_size(self) -> int:
        """The length of the only embedding; 0 if there is none, or several."""
        return len(self.vector) if self.vector else 0


def read_span(span: Span) -> Reading:
    """Return what the span says."""
    draft = Draft()
    with bounded_texts():
        for name, convention in CONVENTIONS.items():
            if convention.read(span, draft):
                draft.conventions.append(name)
        return _reading(span, draft)


def read_plainly(span: Span) -> Reading:
    """Return the span with its attributes beside it, read by no convention."""
    return _reading(span, Draft())


def _reading(span: Span, draft: Draft) -> Reading:
    draft.kind = draft.kind or (LLM if draft.model and draft.messages else SPAN)
    _add_total(draft)
    _add_error(span, draft)
    request = _request(span, draft)
    answer = _answer(draft)
    if not draft.model and isinstance(request.get("model"), str):
        draft.model = request["model"] if draft.kind in (LLM, EMBEDDING) else ""
    return Reading(
        kind=draft.kind,
        model=draft.model or draft.version,
        version=draft.version or _version(draft.answer),
        provider=draft.provider,
        service=text_in(span.resource.get("service.name")),
        request=request,
        answer=answer,
        vector=draft.vectors[0] if len(draft.vectors) == 1 else None,
        usage=draft.usage,
        cost=draft.cost,
        parameters=draft.parameters,
        session=draft.session or text_in(span.attributes.get("session.id")),
        user=draft.user or text_in(span.attributes.get("user.id")),
        request_id=draft.request_id,
        environment=draft.environment or _environment(span.resource),
        metadata=draft.metadata,
        tags=draft.tags,
        time_to_first_token=_first_token(span, draft),
        is_error=span.is_error or draft.is_error,
        message=draft.message or span.message,
        conventions=draft.conventions,
        rest=_rest(span),
    )


def _add_total(draft: Draft) -> None:
    """Add the sum of tokens where both parts are known and the sum is not."""
    both = [draft.usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
    if "total_tokens" not in draft.usage and None not in both:
        draft.usage["total_tokens"] = sum(count or 0 for count in both)


def _add_error(span: Span, draft: Draft) -> None:
    for event in span.events:
        if event.name == "exception" and not draft.message:
            named = (
                event.attributes.get(f"exception.{n}") for n in ("type", "message")
            )
            draft.message = ": ".join(filter(None, map(text_in, named)))


def _request(span: Span, draft: Draft) -> JsonObject:
    named = {"model": draft.model} if draft.model else {}
    if draft.kind == TOOL:
        return {"messages": [_tool_call(span, draft)]}
    if draft.kind == EMBEDDING:
        texts: Any = draft.texts or from_json(draft.input)
        if isinstance(texts, dict) and "input" in texts:
            return named | texts | {"input": draft.texts or texts["input"]}
        return named | {"input": texts} | draft.parameters
    if draft.kind == RERANKER and (draft.query or draft.documents):
        asked = {"query": draft.query, "documents": draft.documents}
        return named | asked | draft.parameters
    if draft.request:
        return named | draft.request
    if draft.messages:
        tools = {"tools": draft.tools} if draft.tools else {}
        return named | {"messages": draft.messages} | draft.parameters | tools
    if draft.input is None:
        return named
    return named | as_request(draft.input)


def _tool_call(span: Span, draft: Draft) -> Message:
    arguments = draft.input
    function = {
        "name": draft.tool_name or span.name,
        "arguments": text_in({} if arguments is None else arguments),
    }
    call: JsonObject = {"type": "function", "function": function}
    if draft.tool_call_id:
        call["id"] = draft.tool_call_id
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def _answer(draft: Draft) -> Any:
    if draft.vectors:
        rows = [{"index": n, "embedding": each} for n, each in enumerate(draft.vectors)]
        return _completion(draft, {"data": rows})
    if draft.kind in (RETRIEVER, RERANKER) and draft.results:
        return {"results": [_result(n, each) for n, each in enumerate(draft.results)]}
    if draft.answer:
        return draft.answer
    choices = draft.choices
    if not choices and draft.output is not None:
        if draft.kind == TOOL:
            choices = [{"role": "tool", "content": text_in(draft.output)}]
            if draft.tool_call_id:
                choices[0]["tool_call_id"] = draft.tool_call_id
        else:
            choices = as_choices(draft.output)
    if not choices:
        return None
    reasons = dict(enumerate(draft.reasons))
    rows = [
        {"index": n, "message": each, "finish_reason": reasons.get(n)}
        for n, each in enumerate(choices)
    ]
    return _completion(draft, {"choices": rows})


def _completion(draft: Draft, answer: JsonObject) -> JsonObject:
    if draft.version or draft.model:
        answer["model"] = draft.version or draft.model
    if draft.usage:
        answer["usage"] = draft.usage
    return answer


def _result(number: int, given: JsonObject) -> JsonObject:
    """Return a document as a result of a ranking, named by its id or its place."""
    return {"item": text_in(given.get("id")) or str(number), **given}


def _version(answer: JsonObject) -> str:
    named = answer.get("model")
    return named if isinstance(named, str) else ""


def _environment(resource: Mapping[str, Any]) -> str:
    found = (text_in(resource.get(name)) for name in ENVIRONMENTS)
    return next(filter(None, found), "")


def _first_token(span: Span, draft: Draft) -> float | None:
    """Return the seconds until the first token, if the span tells of it."""
    at = draft.first_token_at
    for event in span.events:
        if at is None and event.name in (
            "First Token Stream Event",
            "gen_ai.first_token",
        ):
            at = event.at
    told = span.attributes.get("gen_ai.response.time_to_first_chunk")
    if at is None and isinstance(told, float | int):
        return float(told)
    return None if at is None or at < span.start else (at - span.start) / 1e9


def _rest(span: Span) -> JsonObject:
    """Return what no convention took, shortened where it is long."""
    own = {
        n: v
        for n, v in span.attributes.items()
        if v not in ("", [], None) and n not in OWN and not n.startswith(OWN_PREFIXES)
    }
    events = [
        {"name": each.name, "at": each.at, "attributes": _short(each.attributes)}
        for each in span.events[:EVENTS_MAX]
        if not each.name.startswith("gen_ai.")
    ]
    rest = {
        "scope": span.scope,
        "resource": _short(span.resource),
        "attributes": _short(own),
        "events": events,
        "links": list(span.links[:EVENTS_MAX]),
    }
    return {name: value for name, value in rest.items() if value}


def _short(given: Mapping[str, Any]) -> JsonObject:
    kept = list(given.items())[:REST_MAX]
    return {name[:REST_CHARS]: _cut(value) for name, value in kept}


def _cut(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= REST_CHARS else f"{value[:REST_CHARS]}…"
    if isinstance(value, list | dict):
        text = dump(value)
        return value if len(text) <= REST_CHARS else f"{text[:REST_CHARS]}…"
    return value
