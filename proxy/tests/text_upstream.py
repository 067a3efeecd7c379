"""A server of text models for the tests, with the APIs of OpenAI, Anthropic, Ollama and KServe.

What it answers follows from the path and the body, how it fails from the model's name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from proxy.tests import openai_upstream
from proxy.tests.openai_upstream import USAGE, WORDS
from proxy.tests.upstream import Seen, Upstream

TEXT = "".join(WORDS)
MODEL = "echo-1"
EVENTS, LINES = "text/event-stream", "application/x-ndjson"
CALL = {"name": "find_ship", "arguments": '{"name": "Ålesund", "flags": [1, 2.50]}'}
CUT = "cut-"  # a model of this name and a number breaks off after so many bytes
ERROR = {"message": "The model is overloaded.", "type": "server_error", "code": "busy"}

Answer = tuple[str, list[bytes]]  # a media type, and the pieces of a stream


@dataclass
class TextUpstream(Upstream):
    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.seen.append(Seen(request.method, request.raw_path, headers, body))
        asked = orjson.loads(body) if body else {}
        name = str(asked.get("model") or asked.get("text_input") or "")
        if name == "failing":
            return web.json_response({"error": ERROR}, status=429, headers=LIMITS)
        if name == "lost":
            text = "<h1>Bad gateway</h1>"
            return web.Response(text=text, status=502, content_type="text/html")
        if name == "silent":
            await asyncio.sleep(30)
        if name == "torn":
            response = web.StreamResponse(headers={"Content-Length": "1000"})
            await response.prepare(request)
            await response.write(b'{"id": "only this')
            request.transport.abort()
            return response
        found = answer_of(request.path, asked)
        if isinstance(found, tuple):
            return await self._stream(request, name, *found)
        return web.Response(
            body=orjson.dumps(found),
            content_type="application/json",
            headers={"X-Request-Id": "req-of-server"},
        )

    async def _stream(
        self, request: web.Request, name: str, content_type: str, pieces: list[bytes]
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"X-Request-Id": "req-of-server"})
        response.content_type = content_type
        await response.prepare(request)
        if name.startswith(CUT):
            await response.write(b"".join(pieces)[: int(name.removeprefix(CUT))])
            await asyncio.sleep(0.05)
            request.transport.abort()
            return response
        for piece in pieces:
            await response.write(piece)
            if name == "slow":
                await asyncio.sleep(0.2)
        return response


LIMITS = {"X-RateLimit-Remaining-Requests": "0", "Retry-After": "7", "X-Secret": "no"}


def answer_of(path: str, asked: dict[str, Any]) -> Any:
    """The value of an answer, or the media type and the pieces of a stream."""
    for ending, answer in ANSWERS.items():
        if path.endswith(ending):
            return answer(asked)
    return {"path": path}


def sse(value: Any, name: str = "") -> bytes:
    begin = f"event: {name}\n".encode() if name else b""
    return begin + b"data: " + orjson.dumps(value) + b"\n\n"


def chat(asked: dict[str, Any]) -> Any:
    if asked.get("stream"):
        return EVENTS, [*chat_events(asked), b"data: [DONE]\n\n"]
    if asked.get("tools"):
        message = {"role": "assistant", "content": None, "refusal": None}
        calls = [{"id": "call-1", "type": "function", "function": CALL}]
        choice = {
            "index": 0,
            "message": {**message, "tool_calls": calls},
            "finish_reason": "tool_calls",
        }
        return {**openai_upstream.whole(1), "choices": [choice]}
    return openai_upstream.whole(asked.get("n", 1))


def chat_events(asked: dict[str, Any]) -> list[bytes]:
    head = {"id": "c-1", "object": "chat.completion.chunk", "created": 1}
    head["model"] = MODEL
    if asked.get("model") == "erring":
        first = list(openai_upstream.chunks({"model": "fast"}))[:3]
        return [*map(sse, first), sse({"error": ERROR})]
    if asked.get("tools"):
        deltas = [{"role": "assistant", "content": None}]
        text = CALL["arguments"]
        first = {"index": 0, "id": "call-1", "type": "function"}
        function = {"name": CALL["name"], "arguments": ""}
        deltas += [{"tool_calls": [{**first, "function": function}]}]
        for at in range(0, len(text), 7):
            piece = {"index": 0, "function": {"arguments": text[at : at + 7]}}
            deltas.append({"tool_calls": [piece]})
        ends = "tool_calls"
    elif asked.get("model") == "reasoning":
        deltas = [{"reasoning_content": "Hmm, "}, {"reasoning_content": "ships."}]
        deltas += [{"content": "A "}, {"content": "ship"}]
        ends = "stop"
    elif asked.get("model") == "refusing":
        deltas = [{"refusal": "I cannot "}, {"refusal": "say."}]
        ends = "stop"
    elif asked.get("modalities"):
        deltas = [
            {"audio": {"id": "a-1", "transcript": "A "}},
            {"audio": {"data": "AAE="}},  # bytes 0 and 1
            {"audio": {"data": "AgM=", "transcript": "ship"}},  # bytes 2 and 3
            {"audio": {"expires_at": 9}},
        ]
        ends = "stop"
    else:
        return [sse(each) for each in openai_upstream.chunks(asked)]
    events = [
        {**head, "choices": [openai_upstream.choice(0, delta)]} for delta in deltas
    ]
    events.append({**head, "choices": [openai_upstream.choice(0, {}, ends)]})
    events.append({**head, "choices": [], "usage": USAGE})
    return [sse(each) for each in events]


def completion(asked: dict[str, Any]) -> Any:
    choice = {"index": 0, "text": TEXT, "finish_reason": "length", "logprobs": None}
    head = {"id": "t-1", "object": "text_completion", "created": 1, "model": MODEL}
    return {**head, "choices": [choice], "usage": USAGE}


RESPONSE = {
    "id": "resp-1",
    "object": "response",
    "created_at": 1,
    "model": MODEL,
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
}
RESPONSE_USAGE = {
    "input_tokens": 3,
    "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
    "output_tokens": 5,
    "output_tokens_details": {"reasoning_tokens": 1},
    "total_tokens": 8,
}


def response_output(asked: dict[str, Any]) -> list[dict[str, Any]]:
    summary = [{"type": "summary_text", "text": "Ships, then."}]
    output: list[dict[str, Any]] = [
        {"type": "reasoning", "id": "rs-1", "summary": summary}
    ]
    part = {"type": "output_text", "text": TEXT, "annotations": []}
    message = {"type": "message", "id": "msg-1", "role": "assistant"}
    output.append({**message, "status": "completed", "content": [part]})
    if asked.get("tools"):
        call = {"type": "function_call", "id": "fc-1", "call_id": "call-1", **CALL}
        output.append({**call, "status": "completed"})
    return output


def response(asked: dict[str, Any]) -> Any:
    whole = {
        **RESPONSE,
        "status": "completed",
        "output": response_output(asked),
        "usage": RESPONSE_USAGE,
    }
    if not asked.get("stream"):
        return whole
    number = iter(range(1000))

    def event(kind: str, **fields: Any) -> bytes:
        kind = f"response.{kind}"
        value = {"type": kind, "sequence_number": next(number), **fields}
        return sse(value, kind)

    begun = {**RESPONSE, "status": "in_progress", "output": []}
    events = [event("created", response=begun), event("in_progress", response=begun)]
    for index, item in enumerate(whole["output"]):
        at = {"output_index": index, "item_id": item["id"]}
        events += _response_item(event, at, item)
    return EVENTS, [*events, event("completed", response=whole)]


def _response_item(
    event: Callable[..., bytes], at: dict[str, Any], item: dict[str, Any]
) -> list[bytes]:
    index = {"output_index": at["output_index"]}
    if item["type"] == "reasoning":
        text = item["summary"][0]["text"]
        place = {**at, "summary_index": 0}
        part = {"type": "summary_text", "text": ""}
        inner = [
            event("reasoning_summary_part.added", **place, part=part),
            event("reasoning_summary_text.delta", **place, delta=text[:6]),
            event("reasoning_summary_text.delta", **place, delta=text[6:]),
            event("reasoning_summary_text.done", **place, text=text),
            event("reasoning_summary_part.done", **place, part=item["summary"][0]),
        ]
        begun = {**item, "summary": []}
    elif item["type"] == "message":
        place = {**at, "content_index": 0}
        part = {"type": "output_text", "text": "", "annotations": []}
        inner = [event("content_part.added", **place, part=part)]
        inner += [
            event("output_text.delta", **place, delta=word, logprobs=[])
            for word in WORDS
        ]
        inner += [
            event("output_text.done", **place, text=TEXT, logprobs=[]),
            event("content_part.done", **place, part=item["content"][0]),
        ]
        begun = {**item, "status": "in_progress", "content": []}
    else:
        text = item["arguments"]
        inner = [
            event("function_call_arguments.delta", **at, delta=text[n : n + 9])
            for n in range(0, len(text), 9)
        ]
        inner.append(event("function_call_arguments.done", **at, arguments=text))
        begun = {**item, "status": "in_progress", "arguments": ""}
    return [
        event("output_item.added", **index, item=begun),
        *inner,
        event("output_item.done", **index, item=item),
    ]


def message(asked: dict[str, Any]) -> Any:
    """Anthropic's messages: reasoning, a text, and a tool if there are some."""
    usage = {"input_tokens": 3, "output_tokens": 5}
    head = {"id": "msg-1", "type": "message", "role": "assistant", "model": MODEL}
    content: list[dict[str, Any]] = [
        {"type": "thinking", "thinking": "Ships, then.", "signature": "c2ln"},
        {"type": "text", "text": TEXT},
    ]
    if asked.get("tools"):
        use = {"type": "tool_use", "id": "tu-1", "name": CALL["name"]}
        content.append({**use, "input": orjson.loads(CALL["arguments"])})
    ends = {"stop_reason": "end_turn", "stop_sequence": None}
    if not asked.get("stream"):
        return {**head, "content": content, **ends, "usage": usage}

    def event(kind: str, **fields: Any) -> bytes:
        return sse({"type": kind, **fields}, kind)

    begun = {**head, "content": [], "stop_reason": None, "stop_sequence": None}
    begun["usage"] = {"input_tokens": 3, "output_tokens": 1}
    events = [event("message_start", message=begun), event("ping")]
    for index, block in enumerate(content):
        events += _message_block(event, index, block)
    events.append(event("message_delta", delta=ends, usage={"output_tokens": 5}))
    return EVENTS, [*events, event("message_stop")]


def _message_block(
    event: Callable[..., bytes], index: int, block: dict[str, Any]
) -> list[bytes]:
    if block["type"] == "thinking":
        empty = {"type": "thinking", "thinking": "", "signature": ""}
        deltas = [
            {"type": "thinking_delta", "thinking": "Ships, "},
            {"type": "thinking_delta", "thinking": "then."},
            {"type": "signature_delta", "signature": block["signature"]},
        ]
    elif block["type"] == "text":
        empty = {"type": "text", "text": ""}
        deltas = [{"type": "text_delta", "text": word} for word in WORDS]
    else:
        empty = {**block, "input": {}}
        text = CALL["arguments"]
        deltas = [
            {"type": "input_json_delta", "partial_json": text[n : n + 9]}
            for n in range(0, len(text), 9)
        ]
    return [
        event("content_block_start", index=index, content_block=empty),
        *(event("content_block_delta", index=index, delta=each) for each in deltas),
        event("content_block_stop", index=index),
    ]


def ollama(asked: dict[str, Any], is_chat: bool) -> Any:
    head = {"model": MODEL, "created_at": "2026-11-30T12:00:00Z"}
    ends = {"done": True, "done_reason": "stop", "eval_count": 5}
    ends["prompt_eval_count"] = 3

    def said(text: str) -> dict[str, Any]:
        if not is_chat:
            return {"response": text}
        return {"message": {"role": "assistant", "content": text}}

    if asked.get("stream") is False:
        return {**head, **said(TEXT), **ends}
    lines = [{**head, **said(word), "done": False} for word in WORDS]
    lines.append({**head, **said(""), **ends})
    return LINES, [orjson.dumps(line) + b"\n" for line in lines]


def reranked(asked: dict[str, Any]) -> Any:
    documents = asked["documents"]
    ranked = sorted(range(len(documents)), key=lambda n: -len(documents[n]))
    results = [{"index": n, "relevance_score": len(documents[n]) / 100} for n in ranked]
    return {"model": MODEL, "results": results, "usage": {"total_tokens": 8}}


def generated(asked: dict[str, Any]) -> Any:
    return {"model_name": "m", "model_version": "1", "text_output": TEXT}


def generated_stream(asked: dict[str, Any]) -> Any:
    head = {"model_name": "m", "model_version": "1"}
    return EVENTS, [sse({**head, "text_output": word}) for word in WORDS]


ANSWERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "/chat/completions": chat,
    "/completions": completion,
    "/responses": response,
    "/embeddings": openai_upstream.embedded,
    "/rerank": reranked,
    "/messages": message,
    "/count_tokens": lambda asked: {"input_tokens": 3},
    "/api/chat": lambda asked: ollama(asked, is_chat=True),
    "/api/generate": lambda asked: ollama(asked, is_chat=False),
    ":predict": lambda asked: {"predictions": [len(asked["instances"])]},
    "/generate": generated,
    "/generate_stream": generated_stream,
}
