"""The turns of a stored request as fields of a form, and the request that they make."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from inferences.models import Inference
from inferences.store.conversations import request_of
from protocols.conversations import (
    Conversation,
    Part,
    PartKind,
    Turn,
    prompt_name,
    read_conversation,
    to_messages,
    turn_text,
)

TURNS_EDITED = 40  # the last ones; those before them are sent as they were
TEXT_EDITED = 50_000  # characters; a longer text is sent as it was
ROLES = ("system", "developer", "user", "assistant", "tool")
CHAT, COMPLETIONS = "v1/chat/completions", "v1/completions"
# The page reads an answer as a whole.
STREAMING = ("stream", "stream_options")


@dataclass(frozen=True, slots=True)
class TurnField:
    """A turn that a person may edit; ``others`` are its parts that are no text."""

    number: int
    role: str
    text: str
    others: Sequence[str]
    is_fixed: bool

    @property
    def title(self) -> str:
        """Whose turn it is."""
        return self.role or "prompt"


@dataclass(frozen=True, slots=True)
class Draft:
    """A stored request to edit."""

    inference: Inference
    conversation: Conversation
    tensor: (
        str  # the name of the V2 tensor in which it came; "" if it came as its own JSON
    )

    @property
    def fields(self) -> list[TurnField]:
        """The turns that can be edited."""
        turns = list(enumerate(self.conversation.turns))[-TURNS_EDITED:]
        return [_field(number, turn) for number, turn in turns]

    @property
    def takes_key(self) -> bool:
        """Whether it is sent by a text API, whose server may ask for a key."""
        return not self.tensor

    @property
    def before(self) -> int:
        """The number of turns before those, which are sent as they were."""
        return max(len(self.conversation.turns) - TURNS_EDITED, 0)

    @property
    def is_chat(self) -> bool:
        """Whether its turns have roles."""
        return any(turn.role for turn in self.conversation.turns)


@dataclass(frozen=True, slots=True)
class Sent:
    """What is sent: a text within a V2 tensor, or a request for a path of its own."""

    text: str
    path: str = ""


def draft_of(inference: Inference) -> Draft | None:
    """Return the stored request of an inference to edit; None if it has no turns."""
    # Without the answer, which may name another version of the model.
    conversation = read_conversation(request_of(inference), None)
    if conversation is None or not conversation.turns:
        return None
    noted = (inference.payload.notes or {}).get("input")
    name = noted.get("name") if isinstance(noted, dict) else None
    return Draft(inference, conversation, name if isinstance(name, str) else "")


def edited_request(draft: Draft, given: Mapping[str, str]) -> Sent:
    """Return the request with the turns of a form. Raises ``ValueError`` without any text."""
    turns = tuple(_edited(draft, given))
    if extra := _lines(given.get("more", "")):
        turns += (Turn("user", (Part(PartKind.TEXT, extra),)),)
    if not turns:
        raise ValueError("Leave at least one turn.")
    edited = replace(draft.conversation, turns=turns)
    if draft.is_chat or len(turns) > len(draft.conversation.turns):
        text = json.dumps(_request(draft, edited), ensure_ascii=False)
        return Sent(text, "" if draft.tensor else CHAT)
    prompt = "\n\n".join(map(turn_text, turns))
    if draft.tensor:
        return Sent(prompt)
    return Sent(_with_prompt(draft, prompt), COMPLETIONS)


def _request(draft: Draft, edited: Conversation) -> dict[str, Any]:
    kept = {
        name: value
        for name, value in edited.parameters.items()
        if name not in STREAMING
    }
    model = {"model": edited.model} if edited.model else {}
    return {**model, **kept, "messages": to_messages(edited, choice=None)}


def _with_prompt(draft: Draft, prompt: str) -> str:
    given = request_of(draft.inference)
    request = given if isinstance(given, dict) else {}
    name = prompt_name(request)
    kept = {key: value for key, value in request.items() if key not in STREAMING}
    return json.dumps({**kept, name: prompt}, ensure_ascii=False)


def _field(number: int, turn: Turn) -> TurnField:
    text = _text_of(turn)
    others = [part.kind.value for part in turn.parts if part.kind is not PartKind.TEXT]
    is_fixed = len(text) > TEXT_EDITED or any(
        part.kind is PartKind.TOOL_RESULT for part in turn.parts
    )
    return TurnField(number, turn.role, text, others, is_fixed)


def _text_of(turn: Turn) -> str:
    return "\n".join(p.text for p in turn.parts if p.kind is PartKind.TEXT)


def _edited(draft: Draft, given: Mapping[str, str]) -> Sequence[Turn]:
    fields = {field.number: field for field in draft.fields}
    turns = []
    for number, turn in enumerate(draft.conversation.turns):
        field = fields.get(number)
        if given.get(f"drop-{number}"):
            continue
        if field is None or field.is_fixed or f"text-{number}" not in given:
            turns.append(turn)
            continue
        role = given.get(f"role-{number}", turn.role)
        role = role if role in ROLES else turn.role
        text = _lines(given[f"text-{number}"])
        if text == _lines(field.text):  # as it was, to the last white space
            turns.append(replace(turn, role=role))
            continue
        others = tuple(p for p in turn.parts if p.kind is not PartKind.TEXT)
        parts = (Part(PartKind.TEXT, text), *others) if text else others
        turns.append(replace(turn, role=role, parts=parts))
    return turns


def _lines(text: str) -> str:
    """Return a text with the line ends that it had before a browser sent it."""
    return text.replace("\r\n", "\n")
