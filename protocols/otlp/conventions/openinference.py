"""OpenInference, of Arize Phoenix: lists are names with numbers.

https://github.com/Arize-ai/openinference/blob/main/spec/semantic_conventions.md
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from protocols.otlp.chat import is_answer, is_request
from protocols.otlp.draft import Draft, kind_of
from protocols.otlp.spans import Span
from protocols.otlp.values import (
    from_json,
    list_in,
    nested,
    number_in,
    object_in,
    text_in,
)

LISTS = (
    "llm.input_messages.",
    "llm.output_messages.",
    "llm.prompts.",
    "llm.choices.",
    "llm.tools.",
    "embedding.embeddings.",
    "retrieval.documents.",
    "reranker.input_documents.",
    "reranker.output_documents.",
)
OWN = (
    *LISTS,
    *("openinference.span.kind", "input.value", "input.mime_type", "output.value"),
    *("output.mime_type", "llm.model_name", "llm.request.model_name"),
    *("llm.response.model_name", "llm.provider", "llm.system", "llm.finish_reason"),
    *("llm.invocation_parameters", "llm.token_count.", "llm.cost.total"),
    *("embedding.model_name", "embedding.invocation_parameters", "reranker.query"),
    *("reranker.model_name", "reranker.top_k", "tool.name", "tool.id"),
    *("tool.parameters", "tool_call.id", "session.id", "user.id", "metadata"),
    *("tag.tags",),
)
MARKS = (*LISTS, "openinference.", "llm.model_name", "llm.token_count.", "reranker.")
PROMPT = "llm.token_count.prompt"
DETAILS = {
    "cached_tokens": f"{PROMPT}_details.cache_read",
    "cache_write_tokens": f"{PROMPT}_details.cache_write",
    "reasoning_tokens": "llm.token_count.completion_details.reasoning",
}


def read(span: Span, draft: Draft) -> bool:
    """Add what the span says; return whether it says anything by this convention."""
    given = span.attributes
    if not any(name.startswith(MARKS) for name in given) and "input.value" not in given:
        return False
    lists = nested(given, LISTS)
    parameters = object_in(given.get("llm.invocation_parameters"))
    named = given.get("llm.model_name")
    draft.offer(
        kind=kind_of(given.get("openinference.span.kind")),
        model=text_in(
            given.get("llm.request.model_name")
            or parameters.get("model")
            or _asked_model(given)
            or named
            or given.get("embedding.model_name")
            or given.get("reranker.model_name")
        ),
        version=text_in(given.get("llm.response.model_name") or named),
        reasons=[text_in(given["llm.finish_reason"])]
        if given.get("llm.finish_reason")
        else [],
        provider=text_in(given.get("llm.provider") or given.get("llm.system")),
        session=text_in(given.get("session.id")),
        user=text_in(given.get("user.id")),
        metadata=object_in(given.get("metadata")),
        tags=[text_in(each) for each in list_in(given.get("tag.tags"))],
        messages=[_message(each) for each in _list(lists, "llm.input_messages.")],
        choices=[_message(each) for each in _list(lists, "llm.output_messages.")],
        tools=[_tool(each) for each in _list(lists, "llm.tools.")],
        query=text_in(given.get("reranker.query")),
        documents=_documents(_list(lists, "reranker.input_documents.")),
        results=_documents(
            _list(lists, "retrieval.documents.")
            or _list(lists, "reranker.output_documents.")
        ),
        tool_name=text_in(given.get("tool.name")),
        tool_call_id=text_in(given.get("tool_call.id") or given.get("tool.id")),
        cost=number_in(given.get("llm.cost.total")),
    )
    _read_prompts(lists, draft)
    _read_embeddings(lists, draft)
    _read_values(span, draft)
    draft.add_parameters(parameters)
    draft.add_parameters(object_in(given.get("embedding.invocation_parameters")))
    if given.get("reranker.top_k") is not None:
        draft.add_parameters({"top_n": given["reranker.top_k"]})
    draft.add_usage(
        prompt_tokens=given.get(PROMPT),
        completion_tokens=given.get("llm.token_count.completion"),
        total_tokens=given.get("llm.token_count.total"),
        **{name: given.get(where) for name, where in DETAILS.items()},
    )
    return True


def _asked_model(given: Mapping[str, Any]) -> Any:
    """Return the model that the request names; instrumentations note the answer's beside it."""
    is_call = given.get("openinference.span.kind") == "LLM"
    return object_in(given.get("input.value")).get("model") if is_call else None


def _list(lists: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = lists.get(name)
    return (
        [each for each in found if isinstance(each, dict)]
        if isinstance(found, list)
        else []
    )


def _message(given: dict[str, Any]) -> dict[str, Any]:
    """Return a chat message of ``{"message": {"role": …, "contents": [{"message_content": …}]}}``."""
    inner = _inner(given, "message")
    parts = [
        _part(_inner(each, "message_content")) for each in _dicts(inner.get("contents"))
    ]
    role = text_in(inner.get("role")) or "user"
    message: dict[str, Any] = {"role": role, "content": inner.get("content")}
    if parts and not inner.get("content"):
        message["content"] = parts
    calls = [
        _tool_call(_inner(each, "tool_call"))
        for each in _dicts(inner.get("tool_calls"))
    ]
    if name := inner.get("function_call_name"):
        arguments = text_in(inner.get("function_call_arguments_json"))
        message["function_call"] = {"name": name, "arguments": arguments}
    if calls:
        message["tool_calls"] = calls
    for name in ("name", "tool_call_id", "reasoning_content", "refusal"):
        if inner.get(name):
            message[name] = inner[name]
    return message


def _tool_call(given: dict[str, Any]) -> dict[str, Any]:
    function = _inner(given, "function")
    call: dict[str, Any] = {
        "type": "function",
        "function": {
            "name": text_in(function.get("name")),
            "arguments": text_in(function.get("arguments")),
        },
    }
    if given.get("id"):
        call["id"] = given["id"]
    return call


def _part(given: dict[str, Any]) -> dict[str, Any]:
    kind = given.get("type")
    image = _inner(_inner(given, "image"), "image")
    if kind == "image" or image:
        return {"type": "image_url", "image_url": {"url": text_in(image.get("url"))}}
    audio = _inner(_inner(given, "audio"), "audio")
    if audio:
        return {"type": "input_audio", "input_audio": audio}
    if kind in ("reasoning", "thinking"):
        return {"type": "reasoning", "text": text_in(given.get("text"))}
    if "text" in given:
        return {"type": "text", "text": text_in(given["text"])}
    return given


def _tool(given: dict[str, Any]) -> Any:
    inner = _inner(given, "tool")
    return from_json(inner.get("json_schema", inner))


def _documents(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    documents = []
    for row in rows:
        inner = _inner(row, "document")
        document = {
            "id": inner.get("id"),
            "text": inner.get("content"),
            "score": number_in(inner.get("score")),
            "metadata": from_json(inner.get("metadata")),
        }
        documents.append(
            {n: value for n, value in document.items() if value is not None}
        )
    return documents


def _read_prompts(lists: dict[str, Any], draft: Draft) -> None:
    """Add prompts and completions of models that know no messages."""
    prompts = [
        _inner(each, "prompt").get("text") for each in _list(lists, "llm.prompts.")
    ]
    texts = [text_in(each) for each in prompts if each is not None]
    draft.offer(messages=[{"role": "user", "content": text} for text in texts])
    answers = [
        _inner(each, "completion").get("text") for each in _list(lists, "llm.choices.")
    ]
    draft.offer(
        choices=[
            {"role": "assistant", "content": text_in(text)}
            for text in answers
            if text is not None
        ]
    )


def _read_embeddings(lists: dict[str, Any], draft: Draft) -> None:
    rows = [_inner(each, "embedding") for each in _list(lists, "embedding.embeddings.")]
    draft.offer(texts=[text_in(row["text"]) for row in rows if "text" in row])
    vectors = (from_json(row.get("vector")) for row in rows)
    draft.offer(vectors=[each for each in vectors if isinstance(each, list)])


def _read_values(span: Span, draft: Draft) -> None:
    given = span.attributes
    asked = from_json(given.get("input.value"))
    said = from_json(given.get("output.value"))
    if draft.kind in ("llm", "embedding", ""):
        draft.offer(request=asked if is_request(asked) else {})
        draft.offer(answer=said if is_answer(said) else {})
    draft.offer(input=given.get("input.value"), output=given.get("output.value"))
    if draft.input is None and "tool.parameters" in given:
        draft.offer(input=from_json(given["tool.parameters"]))


def _inner(value: Any, name: str) -> dict[str, Any]:
    inner = value.get(name) if isinstance(value, dict) else None
    return inner if isinstance(inner, dict) else {}


def _dicts(value: Any) -> list[dict[str, Any]]:
    return (
        [each for each in value if isinstance(each, dict)]
        if isinstance(value, list)
        else []
    )
