"""Mocks as OpenAI-compatible servers, streams included.

Requests and answers follow https://platform.openai.com/docs/api-reference.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import time
from collections.abc import Iterator
from typing import Any

from inference_store.mocks import BadRequest, Chat, Mock, TextCompletion, TextEmbedding
from inference_store.schema import InferenceInterface

PATHS: dict[str, type[Mock]] = {
    "/v1/chat/completions": Chat,
    "/v1/completions": TextCompletion,
    "/v1/embeddings": TextEmbedding,
}
MAX_PROMPTS = 64
EVENTS = "text/event-stream"
# Pipelines from the request of all text mocks, {"text"}, and back to their items.
ASKED: dict[type[Mock], dict[str, Any]] = {
    Chat: {"messages": [{"role": "user", "content": "$.text"}]},
    TextCompletion: {"prompt": "$.text"},
    TextEmbedding: {"input": "$.text"},
}
SAID: dict[type[Mock], tuple[str, dict[str, str]]] = {
    Chat: (
        "choices",
        {
            "role": "$.choices.message.role",
            "content": "$.choices.message.content",
            "finish_reason": "$.choices.finish_reason",
        },
    ),
    TextCompletion: ("choices", {"text": "$.choices.text"}),
    TextEmbedding: ("data", {"embedding": "$.data.embedding"}),
}


def path_of(mock: type[Mock]) -> str | None:
    """Return the path of OpenAI-compatible servers for this mock, or None."""
    found = (path for path, kind in PATHS.items() if issubclass(mock, kind))
    return next(found, None)


def interface_of(mock: type[Mock]) -> InferenceInterface | None:
    """Return the interface of a service with OpenAI's protocol, or None if it has none.

    Its pipelines take ``{"text"}`` and return the items of the mock's own interface (for a
    completion the text after the prompt). Callers without the pipelines use the protocol
    itself.
    """
    path = path_of(mock)
    if path is None:
        return None
    kind = PATHS[path]
    collection, item = SAID[kind]
    return InferenceInterface.model_validate(
        {
            "endpoint": path.strip("/"),
            "outputSchema": {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "type": "object",
                "properties": {collection: {"type": "array"}},
                "required": [collection],
            },
            "inputPipeline": [
                {
                    "kind": "TransformJSON",
                    "configuration": {"model": mock.name, **ASKED[kind]},
                }
            ],
            "outputPipeline": [
                {
                    "kind": "ExplodeCollections",
                    "configuration": {"collections": [collection]},
                },
                {"kind": "TransformJSON", "configuration": item},
            ],
        }
    )


def models(mock: Mock) -> dict[str, Any]:
    """Return the response of ``GET /v1/models``."""
    model = {"id": mock.name, "object": "model", "created": 0, "owned_by": "mock"}
    return {"object": "list", "data": [model]}


def answer(mock: Mock, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the whole response to a request. Raises MockError."""
    _check(body)
    model = body.get("model") if isinstance(body.get("model"), str) else mock.name
    if isinstance(mock, TextEmbedding):
        return _embeddings(mock, body, model)
    choices = _choices(mock, body)
    words = sum(len(_describe(choice).split()) for choice in choices)
    tokens = len(str(body.get("messages", body.get("prompt"))).split())
    usage = {"prompt_tokens": tokens, "completion_tokens": words}
    return {
        **_head(mock, path, body, model),
        "choices": choices,
        "usage": {**usage, "total_tokens": tokens + words},
    }


def chunks(mock: Mock, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the answer word by word, choice by choice, then the usage if requested."""
    whole = answer(mock, path, body)
    usage = whole.pop("usage")
    is_chat = isinstance(mock, Chat)
    if is_chat:
        whole["object"] = "chat.completion.chunk"
    for choice in whole["choices"]:
        pieces = _describe(choice).split(" ")
        for number, word in enumerate(pieces):
            text = word if number == 0 else " " + word
            part: dict[str, Any] = {"text": text}
            if is_chat:
                role = {"role": "assistant"} if number == 0 else {}
                part = {"delta": {**role, "content": text}}
            yield {**whole, "choices": [_part(choice, part, None)]}
        last: dict[str, Any] = {"delta": {}} if is_chat else {"text": ""}
        yield {**whole, "choices": [_part(choice, last, choice["finish_reason"])]}
    options = body.get("stream_options")
    if isinstance(options, dict) and options.get("include_usage"):
        yield {**whole, "choices": [], "usage": usage}


def is_streamed(mock: Mock, body: Any) -> bool:
    """Return whether the request asks for a stream of events. Raises BadRequest."""
    _check(body)
    stream = body.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise BadRequest("'stream' is true or false.")
    return bool(stream) and not isinstance(mock, TextEmbedding)


def events(mock: Mock, path: str, body: dict[str, Any]) -> list[bytes]:
    """Return the whole stream: the chunks and the final ``[DONE]``. Raises MockError."""
    messages = (*map(json.dumps, chunks(mock, path, body)), "[DONE]")
    return [f"data: {message}\n\n".encode() for message in messages]


def error(message: str, status: int) -> dict[str, Any]:
    """Return an error in the form of OpenAI's API."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


def _check(body: Any) -> None:
    if not isinstance(body, dict):
        raise BadRequest("The request is an object.")


def _part(choice: dict[str, Any], part: dict[str, Any], reason: Any) -> dict[str, Any]:
    return {"index": choice["index"], **part, "finish_reason": reason}


def _head(mock: Mock, path: str, body: Any, model: Any) -> dict[str, Any]:
    kind = "chat.completion" if isinstance(mock, Chat) else "text_completion"
    digest = hashlib.sha256(f"{mock.options.seed} {path} {body}".encode()).hexdigest()
    prefix = "chatcmpl" if isinstance(mock, Chat) else "cmpl"
    return {
        "id": f"{prefix}-{digest[:24]}",
        "object": kind,
        "created": int(time.time()),
        "model": model,
    }


def _choices(mock: Mock, body: dict[str, Any]) -> list[dict[str, Any]]:
    request = {**body, "n": body.get("n") or 1}
    if isinstance(mock, Chat):
        request["max_tokens"] = body.get(
            "max_completion_tokens", body.get("max_tokens")
        )
        return [
            {
                "index": index,
                "message": {"role": "assistant", "content": item["content"]},
                "finish_reason": item["finish_reason"],
            }
            for index, item in enumerate(mock.infer(request))
        ]
    choices: list[dict[str, Any]] = []
    for prompt in _prompts(body):
        for item in mock.infer({**request, "text": prompt}):
            text = item["text"][len(prompt) :]
            is_cut = len(text.split()) == body.get("max_tokens")
            reason = "length" if is_cut else "stop"
            choices.append(
                {"index": len(choices), "text": text, "finish_reason": reason}
            )
    return choices


def _prompts(body: dict[str, Any]) -> list[str]:
    prompt: Any = body.get("prompt")
    prompts = prompt if isinstance(prompt, list) else [prompt]
    if not 1 <= len(prompts) <= MAX_PROMPTS or {*map(type, prompts)} != {str}:
        raise BadRequest(f"'prompt' is a text or a list of 1 to {MAX_PROMPTS} texts.")
    return prompts


def _embeddings(mock: Mock, body: dict[str, Any], model: Any) -> dict[str, Any]:
    form = body.get("encoding_format") or "float"
    if form not in ("float", "base64"):
        raise BadRequest("'encoding_format' is float or base64.")
    found = mock.infer({"text": body.get("input")})
    rows = []
    for index, item in enumerate(found):
        vector: Any = item["embedding"]
        if form == "base64":  # the form that the openai package asks for
            packed = struct.pack(f"<{len(vector)}f", *vector)
            vector = base64.b64encode(packed).decode()
        rows.append({"object": "embedding", "index": index, "embedding": vector})
    tokens = len(str(body.get("input")).split())
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": rows, "model": model, "usage": usage}


def _describe(choice: dict[str, Any]) -> str:
    is_chat = "message" in choice
    return str(choice["message"]["content"] if is_chat else choice["text"])
