"""Conversations in the files with which language models are trained.

Each member is one line of ``train.jsonl``, or of the file of its split: the request as turns, and
the wanted answer as the last one. That is the answer as it was given, or ground truth.

- OpenAI fine-tuning: https://platform.openai.com/docs/guides/supervised-fine-tuning
- ShareGPT, as LLaMA-Factory and Axolotl read it: ``from`` and ``value`` of each turn
- Hugging Face chats, as the trainers of TRL read them: a column ``messages``, or ``prompt`` and
  ``completion``; every line has the same members, because its columns have types
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from enum import StrEnum
from typing import IO, Any, ClassVar

import orjson

from exports.formats.base import Format
from exports.formats.native import to_strict_json
from exports.members import (
    NO_ANSWER,
    NO_CONVERSATION,
    NO_TRUTH,
    NOT_TEXT,
    TOO_LARGE,
    Member,
    Skip,
    decoding,
)
from inferences.store.answer_text import named_text
from inferences.store.stored_requests import NoRequestText, Reason
from protocols.conversations import (
    Conversation,
    Part,
    PartKind,
    Turn,
    read_conversation,
    to_messages,
    turn_text,
)
from protocols.json_text import parse

Message = dict[str, Any]
FIRST_SPLIT = "train"
GPT, FUNCTION_CALL = "gpt", "function_call"
FROM = {"user": "human", "assistant": GPT, "tool": "observation"}


class Wanted(StrEnum):
    """What the wanted answer of a line is."""

    ANSWER = "answer"
    TRUTH_OR_ANSWER = "truth-or-answer"
    TRUTH = "truth"


class ChatFormat(Format):
    """A format that writes each member as the line of one conversation."""

    choices: ClassVar = {"wanted": tuple(Wanted)}

    def begin(self) -> None:
        self.files: dict[str, IO[bytes]] = {}

    def add(self, member: Member) -> None:
        conversation = wanted_conversation(member, Wanted(self.option("wanted")))
        line = self.line(member, conversation)
        split = member.split or FIRST_SPLIT
        if split not in self.files:
            self.files[split] = self.archive.scratch()
        self.files[split].write(to_strict_json(line) + b"\n")

    def finish(self) -> None:
        for split, file in (
            self.files or {FIRST_SPLIT: self.archive.scratch()}
        ).items():
            self.archive.add_file(f"{split}.jsonl", file)

    def line(self, member: Member, conversation: Conversation) -> dict[str, Any]:
        """Return the line of a conversation with one choice. Raises ``Skip``."""
        raise NotImplementedError


class OpenAiChat(ChatFormat):
    name = "openai_chat"
    title = "OpenAI fine-tuning"
    description = "Lines of messages that OpenAI's fine-tuning takes, with their tools."
    # Earlier answers in a request have a weight of 0, for they have lines of their own.
    choices: ClassVar = ChatFormat.choices | {"trained": ("last", "all")}

    def line(self, member: Member, conversation: Conversation) -> dict[str, Any]:
        messages = to_messages(conversation)
        for message in messages:
            if not _is_open_to_openai(message):
                raise Skip(NOT_TEXT)
        if self.option("trained") == "last":
            for message in messages[:-1]:
                if message["role"] == "assistant":
                    message["weight"] = 0
        line: dict[str, Any] = {"messages": messages}
        if tools := _tools_of(conversation):
            line["tools"] = tools
            parallel = conversation.parameters.get("parallel_tool_calls")
            if isinstance(parallel, bool):
                line["parallel_tool_calls"] = parallel
        return line


class ShareGpt(ChatFormat):
    name = "sharegpt"
    title = "ShareGPT"
    description = (
        "Lines of conversations with from and value, for LLaMA-Factory and others."
    )

    def line(self, member: Member, conversation: Conversation) -> dict[str, Any]:
        turns = [*conversation.turns, *conversation.choices]
        said = [each for turn in turns for each in _said(turn)]
        line: dict[str, Any] = {"id": member.inference_id, "conversations": said}
        if tools := _tools_of(conversation):
            line["tools"] = to_strict_json(tools).decode()
        return line


class HuggingFaceChat(ChatFormat):
    name = "huggingface_chat"
    title = "Hugging Face chat"
    description = (
        "Lines with messages, or with prompt and completion, for load_dataset."
    )
    choices: ClassVar = ChatFormat.choices | {"form": ("messages", "prompt-completion")}

    def line(self, member: Member, conversation: Conversation) -> dict[str, Any]:
        messages = [
            message
            for turn in (*conversation.turns, *conversation.choices)
            for message in _typed_messages(turn)
        ]
        tools = _tools_of(conversation)
        beside = {
            "inference_id": member.inference_id,
            "tools": to_strict_json(tools).decode() if tools else None,
        }
        if self.option("form") == "messages":
            return {"messages": messages, **beside}
        return {"prompt": messages[:-1], "completion": messages[-1:], **beside}


CHAT_FORMATS = (OpenAiChat, ShareGpt, HuggingFaceChat)


def wanted_conversation(member: Member, wanted: Wanted) -> Conversation:
    """Return the conversation of a member, with the wanted answer as its only choice.

    Raises ``Skip`` if there is no request that can be read, or no such answer.
    """
    request, answer = _request_of(member), _parsed(member.answer)
    with decoding():
        conversation = read_conversation(request, answer)
    if conversation is None or not any(map(turn_text, conversation.turns)):
        raise Skip(NO_CONVERSATION)
    truth = None if wanted is Wanted.ANSWER else (member.truth or {}).get("text")
    if isinstance(truth, str):
        choice = Turn("assistant", (Part(PartKind.TEXT, truth),))
    elif wanted is Wanted.TRUTH:
        raise Skip(NO_TRUTH)
    elif not conversation.choices or not turn_text(conversation.choices[0]):
        raise Skip(NO_ANSWER)
    else:
        choice = replace(conversation.choices[0], role="assistant")
    return replace(conversation, choices=(choice,))


def _request_of(member: Member) -> Any:
    """Return the parsed request: the named input ``text``, else the input. Raises ``Skip``."""
    if (named := named_text(member.answer)) is not None:
        return named
    try:
        return _parsed(member.request)
    except NoRequestText as why:
        reason = TOO_LARGE if why.reason is Reason.TOO_LARGE else NO_CONVERSATION
        raise Skip(reason) from None


def _parsed(text: str) -> Any:
    """Return the JSON value of a text, or the text itself if it is none.

    Objects and lists are read as pages read them, also with NaN.
    """
    with decoding():
        value = parse(text)
    if not isinstance(value, str):
        return value
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _tools_of(conversation: Conversation) -> list[Any]:
    """Return the declarations of tools in OpenAI's form; Anthropic's are translated."""
    tools = conversation.parameters.get("tools")
    if not isinstance(tools, list):
        return []
    return [_tool(each) for each in tools if isinstance(each, dict)]


def _tool(given: dict[str, Any]) -> dict[str, Any]:
    if isinstance(given.get("function"), dict):
        return given
    schema = given.get("input_schema", given.get("parameters"))
    members = {"name": given.get("name"), "description": given.get("description")}
    function = {name: value for name, value in members.items() if value is not None}
    return {"type": "function", "function": function | {"parameters": schema or {}}}


def _is_open_to_openai(message: Message) -> bool:
    """Return whether fine-tuning takes the message: text, and pictures of users."""
    content = message["content"]
    if not isinstance(content, list):
        return True
    kinds = {item["type"] for item in content}
    return kinds <= ({"text", "image_url"} if message["role"] == "user" else {"text"})


def _said(turn: Turn) -> Iterator[dict[str, str]]:
    """Yield a turn in ShareGPT's form, in which calls and results of tools stand alone."""
    plain = [part for part in turn.parts if not _is_of_tools(part)]
    text = turn_text(replace(turn, parts=tuple(plain)))
    calls = [part for part in turn.parts if part.kind is PartKind.TOOL_CALL]
    results = [part for part in turn.parts if part.kind is PartKind.TOOL_RESULT]
    for part in results:
        yield {"from": "observation", "value": part.text}
    if text or not (calls or results):
        role = turn.role or "user"
        yield {"from": FROM.get(role, role), "value": text}
    for part in calls:
        call = {"name": part.name, "arguments": _parsed(part.arguments or "{}")}
        yield {"from": FUNCTION_CALL, "value": to_strict_json(call).decode()}


def _typed_messages(turn: Turn) -> Iterator[Message]:
    """Yield the messages of a turn, all with the same members: content is always text."""
    one = Conversation(turns=(turn,))
    for message in to_messages(one, choice=None):
        content = message["content"]
        if isinstance(content, list):
            plain = tuple(part for part in turn.parts if not _is_of_tools(part))
            content = turn_text(replace(turn, parts=plain))
        yield {
            "role": message["role"],
            "content": content or "",
            "name": message.get("name"),
            "tool_calls": message.get("tool_calls"),
            "tool_call_id": message.get("tool_call_id"),
        }


def _is_of_tools(part: Part) -> bool:
    return part.kind in (PartKind.TOOL_CALL, PartKind.TOOL_RESULT)
