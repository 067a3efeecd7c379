"""Stream formats of known servers.

Each form merges its events into the answer that the same server gives without streaming, so that
parsers of whole answers can read it. The first event that some form knows selects the form of a
stream. ``take`` returns whether the event held some of the answer itself: the first such event
has what people call the first token. An event that the form does not know raises ``Unknown``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from protocols.streams.exact_json import read
from protocols.streams.merging import Pieces, add, add_repeated, finish

Value = dict[str, Any]


class Unknown(ValueError):
    """An event that this form does not know."""


class Form(ABC):
    """The state of one stream, in the format of one kind of server.

    ``knows`` returns whether an event has this format. ``take`` merges an event, and raises
    ``Unknown`` or ``Clash``. ``answer`` returns the answer as far as it came.
    """

    #: What marks a proper end of the stream; "" if the servers send no such mark.
    end_mark = ""
    #: Whether the answer is complete only if the end mark came.
    is_whole_at_end = False

    def __init__(self) -> None:
        self.has_ended = False

    @classmethod
    @abstractmethod
    def knows(cls, value: Value) -> bool: ...

    @abstractmethod
    def take(self, value: Value) -> bool: ...

    @abstractmethod
    def answer(self) -> Value: ...


class Completions(Form):
    """OpenAI's chat completions and completions, and all servers with the same format.

    https://platform.openai.com/docs/api-reference/chat-streaming
    """

    end_mark = "[DONE]"
    OBJECTS = {"chat.completion.chunk": "chat.completion"}
    FIRST = {"id", "created", "model", "service_tier", "system_fingerprint"}

    def __init__(self) -> None:
        super().__init__()
        self._head: Value = {}
        self._choices: dict[int, Value] = {}

    @classmethod
    def knows(cls, value: Value) -> bool:
        return isinstance(value.get("choices"), list)

    def take(self, value: Value) -> bool:
        choices = value.get("choices") or []
        if not isinstance(choices, list) or not all(map(self._is_choice, choices)):
            raise Unknown
        is_token = False
        for number, choice in enumerate(choices):
            is_token |= self._take_choice(number, choice)
        for name, given in value.items():
            if name == "choices":
                continue
            if name == "object" and isinstance(given, str):
                self._head.setdefault(name, self.OBJECTS.get(given, given))
            elif name in self.FIRST:
                if self._head.get(name) is None:
                    self._head[name] = given
            else:
                add_repeated(self._head, {name: given})
        return is_token

    def answer(self) -> Value:
        choices = [self._choices[index] for index in sorted(self._choices)]
        usage = self._head.pop("usage", None)
        answer: Value = {
            **self._head,
            "choices": [self._whole(choice) for choice in choices],
        }
        if usage is not None:
            self._head["usage"] = answer["usage"] = usage
        return finish(answer)

    @staticmethod
    def _is_choice(choice: Any) -> bool:
        if not isinstance(choice, dict):
            return False
        index, delta = choice.get("index"), choice.get("delta")
        if index is not None and type(index) is not int:
            return False
        return delta is None or isinstance(delta, dict)

    def _take_choice(self, number: int, given: Value) -> bool:
        index = given.get("index")
        index = number if index is None else index
        choice = self._choices.setdefault(index, {"index": index})
        is_token = False
        for name, value in given.items():
            if name == "delta":
                message = choice.setdefault("message", {})
                is_token = any(
                    content and key != "role" for key, content in value.items()
                )
                add(message, value)
            elif name == "text":
                add(choice, {name: value or ""})
                is_token = bool(value)
            elif name != "index":
                add(choice, {name: value}, joins=False)
        return is_token

    @staticmethod
    def _whole(choice: Value) -> Value:
        """Return a choice as it would be in a whole answer: tool calls sorted by their index."""
        message = choice.get("message")
        if not isinstance(message, dict):
            return choice
        calls = message.get("tool_calls")
        if isinstance(calls, list):
            numbered = all(type(call.get("index")) is int for call in calls)
            if numbered:
                calls = sorted(calls, key=lambda call: call["index"])
            bare = [{k: v for k, v in call.items() if k != "index"} for call in calls]
            message = {**message, "tool_calls": bare}
        return {"finish_reason": None, **choice, "message": message}


class Responses(Form):
    """OpenAI's responses: the last event holds the whole answer, earlier ones its beginning.

    https://platform.openai.com/docs/api-reference/responses-streaming
    """

    end_mark = "response.completed"
    is_whole_at_end = True
    ENDS = {"response.completed", "response.incomplete", "response.failed"}

    def __init__(self) -> None:
        super().__init__()
        self._whole: Value = {}
        self._texts: dict[tuple[Any, Any], Pieces] = {}

    @classmethod
    def knows(cls, value: Value) -> bool:
        kind = value.get("type")
        return isinstance(kind, str) and kind.startswith("response.")

    def take(self, value: Value) -> bool:
        kind = value.get("type")
        if not isinstance(kind, str) or not kind.startswith("response."):
            raise Unknown
        if isinstance(value.get("response"), dict):
            self._whole = value["response"]
            self.has_ended = kind in self.ENDS
            return False
        if kind != "response.output_text.delta":
            return kind.endswith(".delta")  # the last event repeats what it adds
        if not isinstance(value.get("delta"), str):
            raise Unknown
        place = value.get("output_index"), value.get("content_index")
        if not all(each is None or type(each) is int for each in place):
            raise Unknown
        self._texts.setdefault(place, Pieces()).append(value["delta"])
        return True

    def answer(self) -> Value:
        if self.has_ended or not self._texts:
            return self._whole
        parts = [
            {"type": "output_text", "text": finish(text)}
            for text in self._texts.values()
        ]
        message = {"type": "message", "role": "assistant", "content": parts}
        return {**self._whole, "output": [message]}


class Messages(Form):
    """Anthropic's messages: https://docs.claude.com/en/docs/build-with-claude/streaming."""

    end_mark = "message_stop"
    IDLE = {"ping", "content_block_stop"}

    def __init__(self) -> None:
        super().__init__()
        self._message: Value = {}
        self._blocks: dict[int, Value] = {}

    @classmethod
    def knows(cls, value: Value) -> bool:
        kind = value.get("type")
        if kind == "message_start":
            return isinstance(value.get("message"), dict)
        return kind in ("content_block_start", "content_block_delta")

    def take(self, value: Value) -> bool:
        kind, index = value.get("type"), value.get("index")
        if kind == "message_start" and isinstance(value.get("message"), dict):
            self._message = dict(value["message"])
        elif kind == "content_block_start" and isinstance(
            value.get("content_block"), dict
        ):
            block = self._block(index)
            add(block, value["content_block"])
            return bool(block.get("text")) and block["text"] != [""]
        elif kind == "content_block_delta" and isinstance(value.get("delta"), dict):
            return self._delta(self._block(index), value["delta"])
        elif kind == "message_delta" and isinstance(value.get("delta"), dict):
            add(self._message, value["delta"], joins=False)
            if isinstance(value.get("usage"), dict):
                add(self._message, {"usage": value["usage"]}, joins=False)
        elif kind == "message_stop":
            self.has_ended = True
        elif kind not in self.IDLE:
            raise Unknown
        return False

    def answer(self) -> Value:
        blocks = [self._blocks[index] for index in sorted(self._blocks)]
        return {**self._message, "content": [_call(finish(block)) for block in blocks]}

    def _block(self, index: Any) -> Value:
        if type(index) is not int:
            raise Unknown
        return self._blocks.setdefault(index, {})

    @staticmethod
    def _delta(block: Value, delta: Value) -> bool:
        """Merge a delta into its block: by its type if that is known, else by member names."""
        if delta.get("type") == "citations_delta" and "citation" in delta:
            add(block, {"citations": [delta["citation"]]})
            return False
        add(block, {name: value for name, value in delta.items() if name != "type"})
        return True


def _call(block: Value) -> Value:
    """Return the block with the input of a tool parsed; it comes as pieces of a JSON text."""
    text = block.get("partial_json")
    if not isinstance(text, str):
        return block
    rest = {name: value for name, value in block.items() if name != "partial_json"}
    try:
        given = read(text.encode()) if text else rest.get("input", {})
        return {**rest, "input": given}
    except ValueError:  # the text was cut, or cannot be parsed exactly
        return {**rest, "input": text}


class Candidates(Form):
    """Gemini's generateContent: https://ai.google.dev/api/generate-content.

    Every event has the form of a whole answer, with one more piece of each candidate.
    """

    end_mark = "finishReason"
    #: Members that every event repeats, about everything that came so far.
    RETOLD = {"groundingMetadata", "safetyRatings", "usageMetadata"}

    def __init__(self) -> None:
        super().__init__()
        self._head: Value = {}
        self._candidates: dict[int, Value] = {}
        self._parts: dict[int, list[Value]] = {}

    @classmethod
    def knows(cls, value: Any) -> bool:
        if not isinstance(value, dict):
            return False
        candidates = value.get("candidates")
        if candidates is None or candidates == []:
            return isinstance(value.get("promptFeedback"), dict)
        return isinstance(candidates, list) and all(map(cls._is_candidate, candidates))

    def take(self, value: Value) -> bool:
        if not self.knows(value) and "usageMetadata" not in value:
            raise Unknown
        candidates = value.get("candidates") or []
        if not all(map(self._is_candidate, candidates)):
            raise Unknown
        is_token = False
        for number, candidate in enumerate(candidates):
            is_token |= self._take_candidate(number, candidate)
        rest = {name: each for name, each in value.items() if name != "candidates"}
        self._add(self._head, rest)
        # A blocked prompt gets no candidates, and no further events.
        self.has_ended |= "promptFeedback" in value and not candidates
        return is_token

    def answer(self) -> Value:
        if not self._candidates:
            return finish(self._head)
        made: list[Value] = []
        for index in sorted(self._candidates):
            candidate = self._candidates[index]
            parts = self._parts[index]
            if parts or "content" in candidate:
                candidate = {
                    **candidate,
                    "content": {**candidate.get("content", {}), "parts": parts},
                }
            made.append(candidate)
        answer: Value = {"candidates": made, **self._head}
        return finish(answer)

    @staticmethod
    def _is_candidate(candidate: Any) -> bool:
        if not isinstance(candidate, dict):
            return False
        content = candidate.get("content")
        if content is None:
            return isinstance(candidate.get("finishReason"), str)
        if not isinstance(content, dict) or not {"parts", "role"} & content.keys():
            return False
        parts = content.get("parts") or []
        return isinstance(parts, list) and all(isinstance(p, dict) for p in parts)

    def _take_candidate(self, number: int, given: Value) -> bool:
        index = given.get("index", number)
        if type(index) is not int:
            raise Unknown
        known = self._candidates.setdefault(index, {})
        content = given.get("content") or {}
        parts = content.get("parts") or []
        for part in parts:
            self._take_part(self._parts.setdefault(index, []), part)
        self._parts.setdefault(index, [])
        rest = {name: each for name, each in given.items() if name != "content"}
        self._add(known, rest)
        if content:
            about = {name: each for name, each in content.items() if name != "parts"}
            add(known, {"content": about}, joins=False)
        self.has_ended |= bool(given.get("finishReason"))
        return any(part.get("text") or "functionCall" in part for part in parts)

    @staticmethod
    def _take_part(parts: list[Value], part: Value) -> None:
        """Merge a part: a text continues the last text; anything else is a part of its own."""
        last = parts[-1] if parts else {}
        about = {name: each for name, each in part.items() if name != "text"}
        is_text = isinstance(part.get("text"), str)
        if (
            is_text
            and isinstance(last.get("text"), Pieces)
            and about.get("thought") == last.get("thought")
        ):
            last["text"].append(part["text"])
            # The signature of a thought may come with any piece of it.
            last.update(about)
        elif is_text:
            parts.append({**part, "text": Pieces([part["text"]])})
        else:
            parts.append(dict(part))

    def _add(self, known: Value, given: Value) -> None:
        for name, value in given.items():
            if name in self.RETOLD:
                known[name] = value
            else:
                add_repeated(known, {name: value})


class Ollama(Form):
    """Ollama's chat and generate: https://github.com/ollama/ollama/blob/main/docs/api.md."""

    end_mark = "done"
    GROWS = ("response", "thinking")

    def __init__(self) -> None:
        super().__init__()
        self._answer: Value = {}

    @classmethod
    def knows(cls, value: Value) -> bool:
        has_text = isinstance(value.get("response"), str)
        return isinstance(value.get("done"), bool) and (
            has_text or isinstance(value.get("message"), dict)
        )

    def take(self, value: Value) -> bool:
        if not isinstance(value.get("done"), bool):
            raise Unknown
        self.has_ended |= value["done"]
        is_token = False
        for name, given in value.items():
            if name == "message" and isinstance(given, dict):
                is_token |= any(
                    content and key != "role" for key, content in given.items()
                )
                add(self._answer, {name: given})
            elif name in self.GROWS and isinstance(given, str):
                is_token |= bool(given)
                add(self._answer, {name: given})
            else:
                add(self._answer, {name: given}, joins=False)
        return is_token

    def answer(self) -> Value:
        return finish(self._answer)


class GeneratedText(Form):
    """The ``generate_stream`` of Hugging Face's text-generation-inference."""

    end_mark = "generated_text"

    def __init__(self) -> None:
        super().__init__()
        self._text = Pieces()
        self._tokens: list[Value] = []
        self._answer: Value = {}

    @classmethod
    def knows(cls, value: Value) -> bool:
        token = value.get("token")
        return isinstance(token, dict) and isinstance(token.get("text"), str)

    def take(self, value: Value) -> bool:
        token = value.get("token")
        if not isinstance(token, dict) or not isinstance(token.get("text"), str):
            raise Unknown
        if not token.get("special"):
            self._text.append(token["text"])
        self._tokens.append(token)
        rest = {n: v for n, v in value.items() if n not in ("token", "index")}
        add(self._answer, rest, joins=False)
        self.has_ended |= isinstance(value.get("generated_text"), str)
        return bool(token["text"])

    def answer(self) -> Value:
        answer = {**finish(self._answer), "tokens": self._tokens}
        if not self.has_ended:
            answer["generated_text"] = finish(self._text)
        details = answer.get("details")
        if isinstance(details, dict):
            answer |= {
                name: details[name] for name in ("finish_reason",) if name in details
            }
        return answer


class TextOutput(Form):
    """Triton's ``generate_stream``: pieces of ``text_output``, without a mark at the end."""

    def __init__(self) -> None:
        super().__init__()
        self._answer: Value = {}

    @classmethod
    def knows(cls, value: Value) -> bool:
        return isinstance(value.get("text_output"), str)

    def take(self, value: Value) -> bool:
        text = value.get("text_output")
        if not isinstance(text, str):
            raise Unknown
        add(self._answer, {"text_output": text})
        rest = {name: each for name, each in value.items() if name != "text_output"}
        add(self._answer, rest, joins=False)
        return bool(text)

    def answer(self) -> Value:
        return finish(self._answer)


FORMS: tuple[type[Form], ...] = (
    Completions,
    Responses,
    Messages,
    Candidates,
    Ollama,
    GeneratedText,
    TextOutput,
)
