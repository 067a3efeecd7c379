"""A mock behind the paths of OpenAI-compatible servers, streams included."""

from __future__ import annotations

import base64
import hashlib
import struct
import time
from collections.abc import Iterator
from typing import Any

from inference_store.mocks import BadRequest, Chat, Mock, TextCompletion, TextEmbedding

PATHS = {
    "/v1/chat/completions": Chat,
    "/v1/completions": TextCompletion,
    "/v1/embeddings": TextEmbedding,
}


def models(mock: Mock) -> dict[str, Any]:
    """What ``GET /v1/models`` answers."""
    model = {"id": mock.name, "object": "model", "created": 0, "owned_by": "mock"}
    return {"object": "list", "data": [model]}


def answer(mock: Mock, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The whole answer to a request. Raises BadRequest."""
    model = body.get("model") if isinstance(body.get("model"), str) else mock.name
    if isinstance(mock, TextEmbedding):
        return _embeddings(mock, body, model)
    choices = _choices(mock, body)
    words = sum(len(_said(choice).split()) for choice in choices)
    asked = len(str(body.get("messages", body.get("prompt"))).split())
    usage = {"prompt_tokens": asked, "completion_tokens": words}
    return {
        **_head(mock, path, body, model),
        "choices": choices,
        "usage": {**usage, "total_tokens": asked + words},
    }


def chunks(mock: Mock, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The answer word by word, choice by choice, then the usage when it is asked for."""
    whole = answer(mock, path, body)
    usage = whole.pop("usage")
    is_chat = isinstance(mock, Chat)
    if is_chat:
        whole["object"] = "chat.completion.chunk"
    for choice in whole["choices"]:
        pieces = _said(choice).split(" ")
        for number, word in enumerate(pieces):
            said = word if number == 0 else " " + word
            part: dict[str, Any] = {"text": said}
            if is_chat:
                role = {"role": "assistant"} if number == 0 else {}
                part = {"delta": {**role, "content": said}}
            yield {**whole, "choices": [_part(choice, part, None)]}
        last: dict[str, Any] = {"delta": {}} if is_chat else {"text": ""}
        yield {**whole, "choices": [_part(choice, last, choice["finish_reason"])]}
    options = body.get("stream_options")
    if isinstance(options, dict) and options.get("include_usage"):
        yield {**whole, "choices": [], "usage": usage}


def error(message: str, status: int) -> dict[str, Any]:
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


def _part(choice: dict[str, Any], said: dict[str, Any], reason: Any) -> dict[str, Any]:
    return {"index": choice["index"], **said, "finish_reason": reason}


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
                "message": {"role": "assistant", "content": said["content"]},
                "finish_reason": said["finish_reason"],
            }
            for index, said in enumerate(mock.infer(request))
        ]
    prompts = body.get("prompt")
    choices = []
    for prompt in prompts if isinstance(prompts, list) else [prompts]:
        asked = {**request, "text": prompt}
        for said in mock.infer(asked):
            text = said["text"][len(prompt) :]
            choices.append(
                {"index": len(choices), "text": text, "finish_reason": "stop"}
            )
    return choices


def _embeddings(mock: Mock, body: dict[str, Any], model: Any) -> dict[str, Any]:
    form = body.get("encoding_format") or "float"
    if form not in ("float", "base64"):
        raise BadRequest("'encoding_format' is float or base64.")
    found = mock.infer({"text": body.get("input")})
    rows = []
    for index, item in enumerate(found):
        vector: Any = item["embedding"]
        if form == "base64":  # what the openai package asks for
            packed = struct.pack(f"<{len(vector)}f", *vector)
            vector = base64.b64encode(packed).decode()
        rows.append({"object": "embedding", "index": index, "embedding": vector})
    tokens = len(str(body.get("input")).split())
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": rows, "model": model, "usage": usage}


def _said(choice: dict[str, Any]) -> str:
    return choice["message"]["content"] if "message" in choice else choice["text"]
