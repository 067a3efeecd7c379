"""Write a conversation: as a text that people read, and as messages of OpenAI's chat."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from protocols.conversations.conversation import Conversation, Part, PartKind, Turn

Message = dict[str, Any]

# Other names of the roles of OpenAI's chat.
ROLES = {"model": "assistant", "ai": "assistant", "human": "user"}
BASE64 = ";base64,"


def prompt_text(conversation: Conversation) -> str:
    """Return the turns one after the other with their roles, parted by blank lines.

    The text of a single turn stands alone. Pictures and files are written as ``[image]``.
    """
    turns = [(turn.role, turn_text(turn)) for turn in conversation.turns]
    if len(turns) == 1:
        return turns[0][1]
    return "\n\n".join(f"{role}: {text}" if role else text for role, text in turns)


def answer_text(conversation: Conversation) -> str:
    """Return the answer; several choices are parted by blank lines."""
    return "\n\n".join(turn_text(choice) for choice in conversation.choices)


def turn_text(turn: Turn) -> str:
    """Return what a turn says, a line for each part. What a model thought is left out."""
    return "\n".join(text for part in turn.parts if (text := _text(part)))


def to_messages(conversation: Conversation, choice: int | None = 0) -> list[Message]:
    """Return the turns as messages of OpenAI's chat, and one of the choices as the last.

    ``choice=None`` leaves the answer out. What a model thought has no place in that format.
    """
    messages = [
        message for turn in conversation.turns for message in _messages(turn, "user")
    ]
    if choice is not None and choice < len(conversation.choices):
        messages += _messages(conversation.choices[choice], "assistant")
    return messages


def _text(part: Part) -> str:
    match part.kind:
        case PartKind.TEXT | PartKind.REFUSAL | PartKind.TOOL_RESULT:
            return part.text
        case PartKind.TOOL_CALL:
            return f"{part.name}({part.arguments})"
        case PartKind.AUDIO if part.text:
            return part.text
        case PartKind.FILE if part.text:
            return part.text
        case PartKind.IMAGE | PartKind.AUDIO | PartKind.FILE:
            return f"[{part.kind}]"
        case _:
            return ""


def _messages(turn: Turn, unnamed: str) -> Iterator[Message]:
    """Yield the messages of a turn: results of tools are messages of their own."""
    role = ROLES.get(turn.role, turn.role) or unnamed
    results = [part for part in turn.parts if part.kind is PartKind.TOOL_RESULT]
    for part in results:
        if role == "function":
            yield {"role": role, "name": part.name, "content": part.text}
        else:
            yield {"role": "tool", "tool_call_id": part.id, "content": part.text}
    others = [part for part in turn.parts if part.kind is not PartKind.TOOL_RESULT]
    if results and not others:
        return
    if role in ("tool", "function"):  # pictures that a tool returned
        role = "user"
    message: Message = {"role": role}
    if turn.name:
        message["name"] = turn.name
    message["content"] = _content(others)
    refusals = [part.text for part in others if part.kind is PartKind.REFUSAL]
    if refusals:
        message["refusal"] = "\n".join(refusals)
    if calls := [_call(part) for part in others if part.kind is PartKind.TOOL_CALL]:
        message["tool_calls"] = calls
    yield message


def _content(parts: list[Part]) -> str | list[Message] | None:
    written = [item for part in parts if (item := _item(part))]
    if len(written) == 1 and written[0]["type"] == "text":
        text: str = written[0]["text"]
        return text
    if not written:
        silent = (PartKind.TOOL_CALL, PartKind.REFUSAL)
        return None if any(part.kind in silent for part in parts) else ""
    return written


def _item(part: Part) -> Message | None:
    match part.kind:
        case PartKind.TEXT:
            return {"type": "text", "text": part.text}
        case PartKind.IMAGE if part.url:
            return {"type": "image_url", "image_url": {"url": part.url}}
        case PartKind.AUDIO if BASE64 in part.url[:200]:
            format_ = part.media_type.removeprefix("audio/").replace("mpeg", "mp3")
            data = part.url.partition(BASE64)[2]
            audio = {"data": data, "format": format_ or "wav"}
            return {"type": "input_audio", "input_audio": audio}
        case PartKind.AUDIO | PartKind.FILE if part.text:
            return {"type": "text", "text": part.text}
        case PartKind.FILE:
            members = {
                "filename": part.name,
                "file_id": part.id,
                "file_data": part.url,
            }
            given = {name: value for name, value in members.items() if value}
            return {"type": "file", "file": given} if given else None
    return None


def _call(part: Part) -> Message:
    function = {"name": part.name, "arguments": part.arguments or "{}"}
    return {"id": part.id, "type": "function", "function": function}
