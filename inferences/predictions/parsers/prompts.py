"""The prompt of a text model, as a person would read it.

The forms of requests that are read are those of ``protocols.conversations``.
"""

from __future__ import annotations

from inferences.predictions.parsers.context import UNSTORABLE
from protocols.conversations import prompt_text, read_conversation
from protocols.json_text import parse

# Content types that the proxy and uploads give to inputs of unknown kind.
TEXTUAL = ("application/json", "application/octet-stream", "")


def is_textual(content_type: str | None) -> bool:
    """Return whether an input of this content type may be text."""
    kind = (content_type or "").partition(";")[0]
    return kind.startswith("text/") or kind in TEXTUAL


def read_prompt(text: str) -> str:
    """Return what a request says.

    Turns are written one after the other with their roles, with blank lines between them. A
    request of an unknown form is returned unchanged.
    """
    conversation = read_conversation(parse(text), None)
    found = prompt_text(conversation) if conversation else ""
    return UNSTORABLE.sub("\ufffd", found or text)
