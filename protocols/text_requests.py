"""What requests of text APIs say beside the text: the model, the user, the session, metadata.

Members are those of OpenAI's chat completions and responses, Anthropic's messages, and the keys
within ``metadata`` by which gateways such as LiteLLM name users and sessions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

# The metadata keys of a record.
USER, SESSION = "user_id", "conversation_id"
# All keys that name a session, the usual one first. Pages of sessions and ``conversation:`` of
# queries know the same ones.
SESSION_KEYS = (SESSION, "session_id", "session")
USERS = ("user", "safety_identifier")
SESSIONS = ("conversation", "session_id")
OF_METADATA = {
    USER: ("user_id", "user"),
    SESSION: SESSION_KEYS,
}
WORD_CHARS = 1024  # of a model's, a user's or a session's name; a longer one is none

Item = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """The facts of a request; names are "" where it gives none.

    ``metadata`` holds items of ``key`` and ``value``, whose values may be any JSON.
    """

    model: str = ""
    user: str = ""
    session: str = ""
    metadata: list[Item] = field(default_factory=list)


def facts_of_request(value: Any) -> RequestFacts:
    """Return the facts of a parsed request, whatever its form is."""
    if not isinstance(value, dict):
        return RequestFacts()
    given = value.get("metadata")
    metadata = dict(given) if isinstance(given, dict) else {}
    user, session = (
        _first(value, names) or _first_of_metadata(metadata, OF_METADATA[name])
        for name, names in ((USER, USERS), (SESSION, SESSIONS))
    )
    return RequestFacts(
        _word(value.get("model")), user, session, items_of_mapping(metadata)
    )


def items_of_mapping(mapping: dict[str, Any]) -> list[Item]:
    """Return metadata items for the members of an object; truth values become texts."""
    return [
        {"key": key, "value": str(value).lower() if isinstance(value, bool) else value}
        for key, value in mapping.items()
        if value is not None
    ]


def _first(value: dict[str, Any], names: tuple[str, ...]) -> str:
    return next(filter(None, (_word(value.get(name)) for name in names)), "")


def _first_of_metadata(metadata: dict[str, Any], names: tuple[str, ...]) -> str:
    """Return the first of the names that metadata has, which is no item of its own then."""
    for name in names:
        if found := _word(metadata.get(name)):
            del metadata[name]
            return found
    return ""


def _word(value: Any) -> str:
    """Return a name: a text, or the ``id`` of an object; "" for anything else."""
    if isinstance(value, dict):
        value = value.get("id")
    return value if isinstance(value, str) and len(value) <= WORD_CHARS else ""
