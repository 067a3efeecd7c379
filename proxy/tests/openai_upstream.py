"""An OpenAI-compatible server for the tests: what it does follows from the model's name."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass, field

import numpy as np
import orjson
from aiohttp import web

from proxy.tests.upstream import Seen, Upstream

WORDS = ["A ", "ship ", "enters ", "the ", "harbour."]
USAGE = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}


@dataclass
class OpenAIUpstream(Upstream):
    """``sent`` counts the chunks that left, ``gone`` the clients that left before."""

    sent: int = 0
    gone: int = 0
    waited: list[asyncio.Event] = field(default_factory=list)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.seen.append(Seen(request.method, request.raw_path, headers, body))
        if request.method == "GET":
            return web.json_response({"object": "list", "data": []})
        asked = orjson.loads(body)
        if asked["model"] == "failing":
            error = {"message": "Slow down.", "type": "requests", "code": "rate_limit"}
            return web.json_response({"error": error}, status=429)
        if asked["model"] == "nonsense":
            return web.Response(text="not JSON at all")
        if "input" in asked:
            return web.json_response(embedded(asked))
        if asked.get("stream"):
            return await self._streamed(request, asked)
        return web.json_response(whole(asked.get("n", 1)))

    async def _streamed(self, request: web.Request, asked: dict) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_type = "text/event-stream"
        await response.prepare(request)
        try:
            for chunk in chunks(asked):
                await response.write(b"data: " + orjson.dumps(chunk) + b"\n\n")
                self.sent += 1
                if asked["model"] == "slow":
                    await asyncio.sleep(0.2)
                if asked["model"] == "breaking" and self.sent >= 3:
                    request.transport.abort()
                    return response
            await response.write(b"data: [DONE]\n\n")
            if asked["model"] == "lingering":
                await asyncio.sleep(30)
        except ConnectionError:
            self.gone += 1
        return response


def embedded(asked: dict) -> dict:
    """A vector for each text, the last one first: they are told by their index."""
    texts = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
    rows = []
    for index, text in reversed(list(enumerate(texts))):
        vector = np.array([len(text), index, 0.5], "<f4")
        in_base64 = base64.b64encode(vector.tobytes()).decode()
        is_base64 = asked.get("encoding_format") == "base64"
        value = in_base64 if is_base64 else vector.tolist()
        rows.append({"object": "embedding", "index": index, "embedding": value})
    usage = {"prompt_tokens": 9, "total_tokens": 9}
    return {"object": "list", "data": rows, "model": "embedder-2", "usage": usage}


def chunks(asked: dict):
    head = {"id": "c-1", "object": "chat.completion.chunk", "created": 1}
    head["model"] = "echo-1"
    words = WORDS * (20 if asked["model"] == "slow" else 1)
    many = range(asked.get("n", 1))
    for n in many:
        yield {**head, "choices": [choice(n, {"role": "assistant", "content": ""})]}
    for word in words:
        for n in many:
            yield {
                **head,
                "choices": [choice(n, {"content": word.upper() * n or word})],
            }
    for n in many:
        yield {**head, "choices": [choice(n, {}, finish_reason="stop")]}
    if (asked.get("stream_options") or {}).get("include_usage"):
        yield {**head, "choices": [], "usage": USAGE}


def choice(index: int, delta: dict, finish_reason: str | None = None) -> dict:
    return {"index": index, "delta": delta, "finish_reason": finish_reason}


def whole(many: int) -> dict:
    message = {"role": "assistant", "content": "".join(WORDS)}
    return {
        "id": "c-2",
        "object": "chat.completion",
        "created": 1,
        "model": "echo-1",
        "choices": [
            {"index": n, "message": message, "finish_reason": "stop"}
            for n in range(many)
        ],
        "usage": USAGE,
    }
