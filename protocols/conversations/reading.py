"""Read a conversation from the parsed JSON of a request and its answer."""

from __future__ import annotations

from typing import Any

from protocols.conversations.answers import read_answer
from protocols.conversations.conversation import Conversation
from protocols.conversations.requests import read_request


def read_conversation(request: object, answer: object) -> Conversation | None:
    """Return the conversation of a request and its answer; None if neither has a known form.

    Either may be None: a request whose answer never came, or an answer whose input is gone.
    """
    asked, answered = read_request(request), read_answer(answer)
    if asked is None and answered is None:
        return None
    turns = asked.turns if asked else ()
    # An answer of several turns ends with what was asked for. Some repeat the request first.
    before = answered.before if answered else ()
    turns = before if before[: len(turns)] == turns else turns + before
    return Conversation(
        turns,
        answered.choices if answered else (),
        answered.usage if answered else None,
        _model(request, answer),
        asked.parameters if asked else {},
    )


def _model(request: Any, answer: Any) -> str:
    for value in (answer, request):
        for name in ("model", "modelVersion"):
            given = value.get(name) if isinstance(value, dict) else None
            if isinstance(given, str) and given:
                return given
    return ""
