"""OpenAI's chat completions over the guide, whole and as a stream.

https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

import json
import re
import time
from typing import Any
from uuid import uuid4

from aiohttp import web

from demo.models.guide import NAME, TOOL, BadRequest, Guide

GUIDE = web.AppKey("guide", Guide)
PIECES = re.compile(r"\s*\S+|\s+$")
VERSION = "tf-idf-1"


async def list_models(request: web.Request) -> web.Response:
    model = {"id": NAME, "object": "model", "owned_by": "inference-store-demo"}
    return web.json_response({"object": "list", "data": [model]})


async def complete(request: web.Request) -> web.StreamResponse:
    """Answer a chat: with a tool call, with a quotation, or with an error of OpenAI's form."""
    try:
        asked = json.loads(await request.read())
        messages, tools = asked["messages"], asked.get("tools") or []
        names = [each["function"]["name"] for each in tools]
        has_tool = TOOL in names and messages[-1]["role"] == "user"
        answer = request.app[GUIDE].answer(messages, has_tool=has_tool)
    except BadRequest as error:
        return _refuse(str(error))
    except (ValueError, KeyError, TypeError, IndexError):
        return _refuse("The body is no chat completion.")
    usage = usage_of(messages, answer)
    reason = "tool_calls" if answer.get("tool_calls") else "stop"
    whole: dict[str, Any] = {
        "id": f"chatcmpl-{uuid4().hex}",
        "created": int(time.time()),
        "model": f"{NAME}-{VERSION}",
    }
    if asked.get("stream"):
        return await _stream(request, whole, answer, reason, usage)
    choice = {"index": 0, "message": answer, "finish_reason": reason}
    whole |= {"object": "chat.completion", "choices": [choice], "usage": usage}
    return web.json_response(whole, headers={"X-Request-Id": whole["id"]})


def usage_of(messages: list[dict[str, Any]], answer: dict[str, Any]) -> dict[str, int]:
    """Return the usage: words and what is between them, for there are no tokens."""
    asked = sum(
        len(PIECES.findall(str(each.get("content") or ""))) for each in messages
    )
    said = len(PIECES.findall(answer["content"] or json.dumps(answer["tool_calls"])))
    return {
        "prompt_tokens": asked,
        "completion_tokens": said,
        "total_tokens": asked + said,
    }


async def _stream(
    request: web.Request,
    whole: dict[str, Any],
    answer: dict[str, Any],
    reason: str,
    usage: dict[str, int],
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)

    async def send(delta: dict[str, Any], reason: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        chunk = whole | {"object": "chat.completion.chunk", "choices": [choice]}
        if reason:
            chunk["usage"] = usage
        await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")

    await send({"role": "assistant"})
    calls = answer.get("tool_calls") or []
    for place, call in enumerate(calls):
        await send({"tool_calls": [{"index": place, **call}]})
    for piece in PIECES.findall(answer["content"] or ""):
        await send({"content": piece})
    await send({}, reason)
    await response.write(b"data: [DONE]\n\n")
    await response.write_eof()
    return response


def _refuse(message: str) -> web.Response:
    error = {"message": message, "type": "invalid_request_error", "code": None}
    return web.json_response({"error": error}, status=400)
