"""The choices of a language model's answer, and the tokens that it counts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from protocols.conversations.conversation import Part, PartKind, Turn, Usage
from protocols.conversations.parts import Value, read_parts, word
from protocols.conversations.tensors import texts_of_tensors
from protocols.conversations.turns import (
    finish_reason,
    read_gemini_turn,
    read_item,
    read_turn,
)
from protocols.json_text import parse, without_batch
from protocols.streams.facts import facts_of
from protocols.streams.forms import Candidates

LEVELS = 3  # of wrappers around an answer
WRAPPERS = ("text_generation", "outputs", "predictions", "results")


@dataclass(frozen=True, slots=True)
class Answered:
    """What an answer says: its choices, and turns that came before them.

    ``are_choices`` tells several choices from the one answer that most forms have.
    """

    choices: tuple[Turn, ...]
    before: tuple[Turn, ...] = ()
    usage: Usage | None = None
    are_choices: bool = False


def read_answer(value: Any) -> Answered | None:
    """Return the choices of an answer; None for an unknown form."""
    found = _read(value, LEVELS)
    if found is None:
        return None
    usage = read_usage(value)
    return replace(found, usage=usage) if usage else found


def read_usage(answer: Any) -> Usage | None:
    """Return the counts of tokens that an answer reports; None if it reports none."""
    if not isinstance(answer, dict):
        return None
    facts = facts_of(answer)
    given = answer.get("usage", answer.get("usageMetadata"))
    usage = given if isinstance(given, dict) else {}
    asked, made = facts.get("prompt_tokens"), facts.get("completion_tokens")
    total = facts.get("total_tokens")
    cached = _detail(usage, ("prompt_tokens_details", "input_tokens_details"), "cached")
    if cached is None:
        cached = _count(usage, "cachedContentTokenCount")
    if cached is None:
        # Anthropic counts what was read from the cache, or written to it, beside the rest.
        cached = _count(usage, "cache_read_input_tokens")
        written = _count(usage, "cache_creation_input_tokens")
        if isinstance(asked, int) and "input_tokens" in usage:
            asked += (cached or 0) + (written or 0)
    details = ("completion_tokens_details", "output_tokens_details")
    reasoning = _detail(usage, details, "reasoning")
    if reasoning is None:
        reasoning = _count(usage, "thoughtsTokenCount")
    counts = [each for each in (asked, made, total) if isinstance(each, int)]
    if not counts:
        return None
    return Usage(
        asked if isinstance(asked, int) else None,
        made if isinstance(made, int) else None,
        total if isinstance(total, int) else None,
        cached,
        reasoning,
    )


def _read(value: Any, level: int) -> Answered | None:
    value = without_batch(value)
    if isinstance(value, str):
        return Answered((Turn("", tuple(read_parts(value))),))
    if isinstance(value, list):
        return _of_list(value, level)
    if not isinstance(value, dict):
        return None
    return _of_choices(value) or _of_gemini(value) or _of_members(value, level)


def _of_list(value: list[Any], level: int) -> Answered | None:
    if (texts := texts_of_tensors(value)) is not None:
        return _of_texts(texts, level)
    if len(value) > 1 and all(map(Candidates.knows, value)):
        return _of_pieces(value)
    if len(value) == 1 and isinstance(value[0], dict) and level:
        return _read(value[0], level - 1)
    return _of_turns(value)


def _of_turns(value: list[Any]) -> Answered | None:
    """Return the last of several turns as the answer, and the others before it."""
    turns = [turn for each in value if (turn := read_turn(each)) is not None]
    if not turns or len(turns) != len(value):
        return None
    return Answered((turns[-1],), tuple(turns[:-1]))


def _of_texts(texts: list[str], level: int) -> Answered | None:
    """Return the texts of tensors; a text may be the JSON of a whole answer."""
    choices: list[Turn] = []
    for text in texts:
        inner = parse(text)
        found = _read(inner, level - 1) if inner is not text and level else None
        if found is not None and all(turn.is_understood for turn in found.choices):
            choices += found.choices
        else:
            choices.append(Turn("", tuple(read_parts(text))))
    return Answered(tuple(choices), are_choices=len(choices) > 1) if choices else None


def _of_choices(value: Value) -> Answered | None:
    """Return the choices of OpenAI's completions and chat completions."""
    given = value.get("choices")
    if not isinstance(given, list):
        return None
    choices = []
    for each in given:
        inner = each.get("message") or each if isinstance(each, dict) else each
        turn = read_turn(inner) or Turn("", tuple(read_parts([each])))
        reason = finish_reason(each) if isinstance(each, dict) else ""
        choices.append(replace(turn, finish_reason=reason or turn.finish_reason))
    return Answered(tuple(choices), are_choices=True)


def _of_pieces(pieces: list[Value]) -> Answered | None:
    """Return the answer of the list of pieces that Gemini streams."""
    form = Candidates()
    try:
        for piece in pieces:
            form.take(piece)
        answer = form.answer()
        found = _of_gemini(answer)
        return found and replace(found, usage=read_usage(answer))
    except (ValueError, RecursionError):  # pieces that do not form one answer
        return None


def _of_gemini(value: Value) -> Answered | None:
    """Return the candidates, or the reason why the prompt was blocked.

    The format is described at https://ai.google.dev/api/generate-content.
    """
    if not Candidates.knows(value):
        return None
    choices = []
    for each in value.get("candidates") or ():
        turn = read_gemini_turn(each.get("content") or {}) or Turn("", ())
        choices.append(replace(turn, finish_reason=finish_reason(each)))
    if not choices:
        reason = word(value["promptFeedback"].get("blockReason"))
        choices = [Turn("", (Part(PartKind.REFUSAL),), finish_reason=reason)]
    return Answered(tuple(choices), are_choices=True)


def _of_members(value: Value, level: int) -> Answered | None:
    if (texts := texts_of_tensors(value)) is not None:
        return _of_texts(texts, level)
    if found := _of_items(value):
        return found
    turns = value.get("messages", value.get("texts"))
    if isinstance(turns, list) and (found := _of_turns(turns)):
        return _ended(found, value)
    message = value.get("message", value)
    if turn := _message(message):
        return _ended(Answered((turn,)), value)
    for name in WRAPPERS:
        inner = value.get(name)
        if isinstance(inner, str | list | dict) and inner and level:
            return _read(inner, level - 1)
    return None


def _message(value: Any) -> Turn | None:
    """Return a message, or None for an object that has nothing of one."""
    turn = read_turn(value)
    return turn if turn is not None and turn.is_understood else None


def _ended(answered: Answered, value: Value) -> Answered:
    """Return the answer with the reason that stands beside its message."""
    reason = finish_reason(value)
    if not reason:
        return answered
    *others, last = answered.choices
    named = replace(last, finish_reason=last.finish_reason or reason)
    return replace(answered, choices=(*others, named))


def _of_items(value: Value) -> Answered | None:
    """Return the message of OpenAI's responses: items of text, reasoning and function calls."""
    items = value.get("output")
    if not isinstance(items, list) or not all(isinstance(i, dict) for i in items):
        return None
    turns = [turn for each in items if (turn := read_item(each)) and turn.is_understood]
    if not turns:
        return None
    role = next((turn.role for turn in turns if turn.role), "")
    parts = tuple(part for turn in turns for part in turn.parts)
    return Answered((Turn(role, parts, finish_reason=finish_reason(value)),))


def _detail(usage: Value, names: tuple[str, ...], kind: str) -> int | None:
    for name in names:
        if isinstance(details := usage.get(name), dict):
            return _count(details, f"{kind}_tokens")
    return None


def _count(counts: Value, name: str) -> int | None:
    count = counts.get(name)
    return count if type(count) is int and 0 <= count < 2**63 else None
