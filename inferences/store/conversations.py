"""The conversation of an inference: its stored request and answer, read together."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import replace

from inferences.models import Inference
from inferences.predictions.parsers.values import Text
from inferences.store.answer_text import answer_text, named_text
from inferences.store.stored_requests import (
    NoRequestText,
    is_too_large,
    request_text,
)
from protocols.conversations import (
    Conversation,
    Part,
    PartKind,
    Turn,
    read_conversation,
)
from protocols.json_text import parse

# Halves of surrogate pairs are gone already; this character no page and no column can hold.
NUL = "\0"
PLACE = re.compile(r"([tc])([0-9]{1,7})\.([0-9]{1,5})")
DATA = re.compile(r"data:([^,;]{0,100})((?:;[^,;]{0,100}){0,8}),", re.IGNORECASE)


def conversation_of(
    inference: Inference, content: Text | None = None
) -> Conversation | None:
    """Return the conversation of an inference; None if neither side is one.

    ``content`` is the answer as parsers read it, for answers whose text they found within
    another form.
    """
    payload = inference.payload
    text = answer_text(payload.data, payload.answer_storage_key, payload.notes)
    request = request_of(inference)
    if request is None:
        request = named_text(text)
    found = read_conversation(request, parse(text) if text else None)
    if content is not None and (found is None or not found.choices):
        choices = tuple(
            Turn(
                each.role, (Part(PartKind.TEXT, each.text),), "", content.finish_reason
            )
            for each in content.messages
        )
        found = replace(found or Conversation(), choices=choices)
    return found


def request_of(inference: Inference) -> object:
    """Return the parsed JSON of a stored request, its text if it is none; None if unreadable."""
    payload = inference.payload
    if is_too_large(inference.data_size):
        return None
    try:
        return parse(request_text(payload.input_key, payload.data_content_type))
    except NoRequestText:
        return None


def part_at(conversation: Conversation, place: str) -> Part | None:
    """Return the part at a place such as ``t3.1``: of the fourth turn the second part.

    ``c`` in place of ``t`` counts choices.
    """
    named = PLACE.fullmatch(place)
    if named is None:
        return None
    side, turn, part = named[1], int(named[2]), int(named[3])
    turns = conversation.turns if side == "t" else conversation.choices
    if turn >= len(turns) or part >= len(turns[turn].parts):
        return None
    return turns[turn].parts[part]


def content_of(part: Part) -> bytes | None:
    """Return the bytes of a part with a ``data:`` URL; None for one elsewhere, or a malformed one."""
    found = DATA.match(part.url)
    if found is None or "base64" not in found[2].lower():
        return None
    given = part.url[found.end() :]
    try:
        return base64.b64decode(given + "=" * (-len(given) % 4))
    except (binascii.Error, ValueError):
        return None
