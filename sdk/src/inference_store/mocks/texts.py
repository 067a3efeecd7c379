"""Mocks for text: completion, chat, embedding."""

from __future__ import annotations

import hashlib
import math
import random
from typing import Any

from pydantic import Field

from inference_store.mocks.base import (
    NUMBER,
    TEXT,
    BadRequest,
    Mock,
    Options,
    interface,
    members,
)

MAX_CHARS = 1_000_000
MAX_REPLIES = 16
MAX_TEXTS = 1000

SUBJECTS = "the harbour master,a tug,the pilot,the ferry,the crew,the evening light,a gull,the crane".split(",")  # fmt: skip  # noqa: SIM905
VERBS = "waits for,turns towards,passes,signals to,moves away from,listens to,returns to".split(",")  # fmt: skip  # noqa: SIM905
OBJECTS = "the quay,an open lock,the northern pier,the tide,a barge,the lighthouse,the open sea".split(",")  # fmt: skip  # noqa: SIM905
ENDINGS = "before the wind rises,as it does every day,without a sound,and nobody notices,while the rain comes down".split(",")  # fmt: skip  # noqa: SIM905


class Replies(Options):
    """Options with ``replies``: the number of texts in an answer if the request has no ``n``."""

    replies: int = Field(2, ge=1, le=MAX_REPLIES)


class TextCompletion(Mock):
    """Continues a text: ``{"text"}`` becomes a list of ``{"text"}``, the prompt included."""

    name = "text-completion"
    title = "Text completion"
    takes = "text"
    interface = interface("generate", members(text=TEXT))
    Options = Replies
    options: Replies

    def answer(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        text = text_of(request)
        return [{"text": text + more} for more in self.continuations(request)]

    def continuations(self, request: dict[str, Any]) -> list[str]:
        """Return the text after the prompt, for each reply."""
        text = text_of(request)
        replies = _whole(request, "n", self.options.replies, MAX_REPLIES)
        limit = _whole(request, "max_tokens", 1000, 10**6)
        return [
            _cut(" " + _sentence(self.dice(text, number)), limit)
            for number in range(replies)
        ]


class Chat(Mock):
    """Answers the last message: ``{"messages"}`` becomes a list of ``{"role", "content"}``."""

    name = "chat"
    title = "Chat"
    takes = "text"
    interface = interface(
        "chat", members(role={"const": "assistant"}, content=TEXT, finish_reason=TEXT)
    )

    class Options(Replies):
        replies: int = Field(1, ge=1, le=MAX_REPLIES)

    options: Options

    def answer(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        messages = _messages(request)
        replies = _whole(request, "n", self.options.replies, MAX_REPLIES)
        limit = _whole(request, "max_tokens", 1000, 10**6)
        answers = []
        for number in range(replies):
            dice = self.dice(messages, number)
            reply = f"{_sentence(dice).capitalize()} {_sentence(dice).capitalize()}"
            content = _cut(reply, limit)
            reason = "stop" if content == reply else "length"
            answers.append(
                {"role": "assistant", "content": content, "finish_reason": reason}
            )
        return answers


class TextEmbedding(Mock):
    """Embeds texts so that texts with common words and trigrams are near each other.

    ``{"text"}``, a text or a list, becomes a list of ``{"embedding"}``, vectors of norm 1. The
    numbers are counts of words and of letter trigrams, placed by a hash that depends on the
    seed.
    """

    name = "text-embedding"
    title = "Text embedding"
    takes = "text"
    interface = interface(
        "embed", members(embedding={"type": "array", "items": NUMBER, "minItems": 2})
    )

    class Options(Options):
        dimensions: int = Field(64, ge=2, le=4000)

    options: Options

    def answer(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        text = request.get("text", request.get("input"))
        texts = text if isinstance(text, list) else [text]
        if not texts or len(texts) > MAX_TEXTS:
            raise BadRequest(f"'text' is a text or a list of 1 to {MAX_TEXTS}.")
        return [{"embedding": self.vector(text_of({"text": entry}))} for entry in texts]

    def vector(self, text: str) -> list[float]:
        size = self.options.dimensions
        key = self.options.seed.to_bytes(8, "big")
        vector = [0.0] * size
        for gram in _grams(text):
            digest = hashlib.blake2b(gram.encode(), digest_size=8, key=key).digest()
            place = int.from_bytes(digest, "big")
            vector[(place >> 1) % size] += 1.0 if place & 1 else -1.0
        length = math.sqrt(math.fsum(number * number for number in vector))
        if not length:  # no words and trigrams, or such that cancel each other
            vector[0] = length = 1.0
        return [number / length for number in vector]


def text_of(request: dict[str, Any]) -> str:
    """Return the text of a request. Raises BadRequest if there is none."""
    text = request.get("text", request.get("prompt"))
    if not isinstance(text, str):
        raise BadRequest("'text' is a text.")
    if len(text) > MAX_CHARS:
        raise BadRequest(f"'text' has more than {MAX_CHARS} characters.")
    return text


def _messages(request: dict[str, Any]) -> list[dict[str, Any]]:
    messages = request.get("messages")
    if messages is None and "text" in request:
        messages = [{"role": "user", "content": text_of(request)}]
    if not isinstance(messages, list) or not messages:
        raise BadRequest("'messages' is a list of messages.")
    for message in messages:
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise BadRequest("A message is an object with a role and a content.")
        if not isinstance(message.get("content"), (str, list)):
            raise BadRequest("The content of a message is a text or a list of parts.")
    return messages


def _whole(request: dict[str, Any], name: str, default: int, limit: int) -> int:
    value = request.get(name)
    if value is None:
        return default
    if type(value) is not int or not 1 <= value <= limit:
        raise BadRequest(f"{name!r} is a whole number from 1 to {limit}.")
    return value


def _sentence(dice: random.Random) -> str:
    words = (SUBJECTS, VERBS, OBJECTS, ENDINGS)
    return " ".join(dice.choice(phrases) for phrases in words) + "."


def _cut(text: str, limit: int) -> str:
    """Return the first tokens of a text; a token is a word here."""
    words = text.split(" ")
    count = limit + (not words[0])
    return text if len(words) <= count else " ".join(words[:count])


def _grams(text: str) -> list[str]:
    words = "".join(c if c.isalnum() else " " for c in text.casefold()).split()
    letters = [f"_{word}_" for word in words]
    threes = [w[at : at + 3] for w in letters for at in range(len(w) - 2)]
    return [*words, *words, *threes]
