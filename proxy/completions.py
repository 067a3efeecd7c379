"""What OpenAI-compatible servers say: whole answers, and streams put together again.

A stream is ``data: {…}`` events, each a chunk that adds something to one or more choices,
and ``data: [DONE]``. What it comes to has the form of the answer that would have come
without streaming: https://platform.openai.com/docs/api-reference/chat-streaming.
"""

from __future__ import annotations

from typing import Any

import orjson

from proxy import moments

DONE = b"[DONE]"
ANSWER_OBJECTS = {"chat.completion.chunk": "chat.completion"}
LINE_BYTES = 2**20  # of one event; longer ones are not ours to understand


class Growing(list[str]):
    """A text that comes in pieces, put together once."""


class EventReader:
    """The data of server-sent events, out of bytes that come in any pieces."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self.misread = 0

    def events(self, piece: bytes) -> list[bytes]:
        found = []
        lines = (self._rest + piece).replace(b"\r\n", b"\n").split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > LINE_BYTES:
            self._rest = b""
            self.misread += 1
        for line in lines:
            if line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
            elif not line and self._data:
                found.append(b"\n".join(self._data))
                self._data = []
        return found


class Assembly:
    """A copy of a stream's answer, as far as it came."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0
        self._reader = EventReader()
        self._head: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}
        self._usage: dict[str, Any] | None = None
        self.first_token_at: int | None = None
        self.is_done = False
        self.is_too_large = False
        self._misread = 0

    def take(self, piece: bytes | None) -> None:
        """None, when there is no room for the piece: then there is no copy."""
        self._size += len(piece or b"")
        if piece is None or self._size > self._most:
            self.is_too_large = True
            self._choices.clear()
        if piece is None or self.is_too_large:
            return
        for data in self._reader.events(piece):
            if data.strip() == DONE:
                self.is_done = True
            else:
                self._add(data)

    @property
    def misread(self) -> int:
        """How many events were not understood."""
        return self._misread + self._reader.misread

    def answer(self) -> dict[str, Any]:
        choices = [self._choices[index] for index in sorted(self._choices)]
        answer = {**self._head, "choices": [_whole(choice) for choice in choices]}
        if self._usage is not None:
            answer["usage"] = self._usage
        return answer

    def _add(self, data: bytes) -> None:
        try:
            chunk = orjson.loads(data)
            choices = chunk.get("choices") or []
            for choice in choices:
                self._add_to(choice["index"], choice)
        except (ValueError, TypeError, KeyError, AttributeError):
            self._misread += 1
            return
        for name, value in chunk.items():
            if name not in ("choices", "usage", "object"):
                self._head.setdefault(name, value)
        kind = chunk.get("object")
        if isinstance(kind, str):
            self._head.setdefault("object", ANSWER_OBJECTS.get(kind, kind))
        if isinstance(chunk.get("usage"), dict):
            self._usage = chunk["usage"]

    def _add_to(self, index: int, given: dict[str, Any]) -> None:
        choice = self._choices.setdefault(index, {"index": index})
        for name, value in given.items():
            if name == "delta":
                message = choice.setdefault("message", {})
                for key, addition in value.items():
                    self._note_token(key, addition)
                    _add_member(message, key, addition)
            elif name == "text":
                self._note_token(name, value)
                _grow(choice, name, value or "")
            elif name == "logprobs":
                _add_logprobs(choice, value)
            elif value is not None and name != "index":
                choice[name] = value

    def _note_token(self, name: str, value: Any) -> None:
        if self.first_token_at is None and name != "role" and value:
            self.first_token_at = moments.now()


def facts_of(answer: Any) -> dict[str, str | int | float]:
    """Of a whole answer: the model, why it ended, and what it cost in tokens."""
    facts: dict[str, str | int | float] = {}
    if not isinstance(answer, dict):
        return facts
    if isinstance(answer.get("model"), str) and answer["model"]:
        facts["model_version"] = answer["model"]
    usage = answer.get("usage")
    for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
        count = usage.get(name) if isinstance(usage, dict) else None
        if isinstance(count, int) and not isinstance(count, bool):
            facts[name] = count
    choices = answer.get("choices")
    reasons = [
        choice["finish_reason"]
        for choice in (choices if isinstance(choices, list) else ())
        if isinstance(choice, dict) and isinstance(choice.get("finish_reason"), str)
    ]
    if reasons:
        facts["finish_reason"] = ", ".join(dict.fromkeys(reasons))
    return facts


def _add_member(message: dict[str, Any], name: str, value: Any) -> None:
    """What a delta adds to a message: texts grow, calls of tools grow one by one."""
    if value is None:
        message.setdefault(name, None)
    elif name == "tool_calls":
        calls = message.setdefault(name, {})
        for each in value:
            call = calls.setdefault(each["index"], {})
            for key, addition in each.items():
                if key == "function":
                    function = call.setdefault(key, {})
                    for part, text in addition.items():
                        _add_member(function, part, text)
                elif key != "index":
                    call[key] = addition
    elif isinstance(value, str) and name != "role":
        _grow(message, name, value)
    else:
        message[name] = value


def _add_logprobs(choice: dict[str, Any], value: Any) -> None:
    if not isinstance(value, dict):
        choice.setdefault("logprobs", None)
        return
    known = choice["logprobs"] = choice.get("logprobs") or {}
    for name, added in value.items():
        if isinstance(added, list) and isinstance(known.get(name), list):
            known[name] += added
        else:
            known[name] = added


def _grow(parent: dict[str, Any], name: str, piece: str) -> None:
    if not isinstance(parent.get(name), Growing):
        parent[name] = Growing()
    parent[name].append(piece)


def _whole(choice: dict[str, Any]) -> dict[str, Any]:
    """The choice as it would be in an answer: calls of tools as a list."""
    choice = _joined(choice)
    message = choice.get("message")
    if message is None:
        return choice
    calls = message.get("tool_calls")
    if isinstance(calls, dict):
        message = {**message, "tool_calls": [calls[n] for n in sorted(calls)]}
    return {"finish_reason": None, **choice, "message": message}


def _joined(value: Any) -> Any:
    if isinstance(value, Growing):
        return "".join(value)
    if isinstance(value, dict):
        return {name: _joined(each) for name, each in value.items()}
    return value
