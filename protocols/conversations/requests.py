"""The turns of a request to a language model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from protocols.conversations.conversation import Part, Turn
from protocols.conversations.parts import Value, read_image, read_parts, word
from protocols.conversations.tensors import texts_of_tensors
from protocols.conversations.turns import read_gemini_turn, read_item
from protocols.json_text import parse, without_batch

PROMPTS = ("prompt", "input", "inputs", "text", "text_input", "sequence")
QUESTIONS = (
    "question",
    "query",
)  # they come before the others, as of question answering
SYSTEM = "system"
LEVELS = 4  # of requests within members and texts of others
# What turns are made of; all other members of a request are its parameters.
TURNS = {
    *("messages", "contents", "system", "systemInstruction", "system_instruction"),
    *("question", "context", "query", "documents", "texts", "instructions", "images"),
    *("model", "modelVersion", *PROMPTS),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks."""

    turns: tuple[Turn, ...]
    parameters: dict[str, Any] = field(default_factory=dict)


def read_request(value: Any) -> Asked | None:
    """Return the turns and parameters of a request; None for an unknown form."""
    value = without_batch(value)
    turns = tuple(_turns(value))
    if not turns:
        return None
    return Asked(turns, _parameters(value) if isinstance(value, dict) else {})


def prompt_name(request: Value) -> str:
    """Return the name of the member that holds the prompt of a request without messages."""
    for name in QUESTIONS:
        if isinstance(request.get(name), str):
            return name
    return next((name for name in PROMPTS if request.get(name)), "prompt")


def read_turns(given: list[Any]) -> Iterator[Turn]:
    """Yield messages as turns; what is no message is a turn of an unknown part."""
    for each in given:
        turn = read_item(each)
        yield turn or Turn("", tuple(read_parts([each])))


def _turns(value: Any, level: int = LEVELS) -> Iterator[Turn]:
    if isinstance(value, str):
        yield from _of_text(value, level)
    elif isinstance(value, list):
        yield from _of_list(value, level)
    elif isinstance(value, dict):
        yield from _of_members(value, level)


def _of_text(text: str, level: int) -> Iterator[Turn]:
    """Yield the turn of a prompt; of a tensor's text that is a request itself, its turns."""
    inner = parse(text) if level else None
    turns = (
        list(_turns(inner, level - 1))
        if isinstance(inner, dict) or _is_messages(inner)
        else []
    )
    yield from turns or [_of_plain(text)]


def _of_plain(text: str) -> Turn:
    return Turn("", tuple(read_parts(text)))


def _is_messages(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(each, dict) and _is_message(each) for each in value)
    )


def _is_message(value: Value) -> bool:
    known = ("content", "parts", "role")
    return any(name in value for name in known) or isinstance(value.get("type"), str)


def _of_list(value: list[Any], level: int) -> Iterator[Turn]:
    value = without_batch(value)
    if not value:
        return
    if (texts := texts_of_tensors(value)) is not None:
        for text in texts:
            yield from _of_text(text, level)
    elif all(isinstance(each, str) for each in value):
        for each in value:
            yield from _of_text(each, level)
    elif _is_messages(value):
        yield from read_turns(value)
    elif len(value) == 1 and isinstance(value[0], dict):
        yield from _of_members(value[0], level)


def _of_members(value: Value, level: int) -> Iterator[Turn]:
    if (texts := texts_of_tensors(value)) is not None:
        for text in texts:
            yield from _of_text(text, level)
    elif isinstance(given := value.get("messages"), list):
        yield from _system(value.get("system"))
        yield from read_turns(without_batch(given))
    elif isinstance(given := value.get("contents"), list):
        yield from _of_gemini(value, given)
    elif isinstance(question := value.get("question"), str):
        context = value.get("context")
        texts = [question, *([context] if isinstance(context, str) else ())]
        yield from map(_of_plain, texts)
    elif isinstance(query := value.get("query"), str):
        texts = [query, *_documents(value)]
        yield from map(_of_plain, texts)
    else:
        yield from _of_prompt(value, level)


def _of_prompt(value: Value, level: int) -> Iterator[Turn]:
    for name in PROMPTS:
        given = value.get(name)
        if isinstance(given, str) and given:
            # Not parsed: only the texts of tensors hold requests.
            turns = [_of_plain(given)]
        elif isinstance(given, list | dict) and given and level:
            turns = list(_turns(given, level - 1))
        else:
            continue
        if not turns:
            continue
        yield from _system(value.get("system"))
        yield from _system(value.get("instructions"))
        *first, last = turns
        yield from first
        yield Turn(last.role, last.parts + _images(value), last.name)
        return


def _images(value: Value) -> tuple[Part, ...]:
    """Return the pictures that Ollama's generate takes beside its prompt."""
    given = value.get("images")
    images = given if isinstance(given, list) else []
    return tuple(read_image(each) for each in images if isinstance(each, str))


def _system(given: Any) -> Iterator[Turn]:
    """Yield a system prompt that stands beside the turns: a text, or parts."""
    if isinstance(given, str | list) and given:
        yield Turn(SYSTEM, tuple(read_parts(given)))


def _of_gemini(value: Value, given: list[Any]) -> Iterator[Turn]:
    system = value.get("systemInstruction", value.get("system_instruction"))
    if isinstance(system, dict) and (turn := read_gemini_turn(system)):
        yield Turn(SYSTEM, turn.parts)
    elif isinstance(system, str):
        yield from _system(system)
    for each in given:
        yield read_gemini_turn(each) or Turn("", tuple(read_parts([each])))


def _documents(value: Value) -> Iterator[str]:
    rows = value.get("documents", value.get("texts"))
    for each in rows if isinstance(rows, list) else ():
        text = each.get("text") if isinstance(each, dict) else each
        if isinstance(text, str):
            yield text


def _parameters(value: Value) -> dict[str, Any]:
    return {word(name): given for name, given in value.items() if name not in TURNS}
