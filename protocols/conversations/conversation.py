"""The values of a conversation: turns, their parts, and the usage of tokens."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class PartKind(StrEnum):
    """What a part of a turn is. The members equal their names, so plain strings compare."""

    TEXT = "text"
    REASONING = "reasoning"
    REFUSAL = "refusal"
    IMAGE = "image"
    AUDIO = "audio"
    FILE = "file"
    TOOL_CALL = "tool_call"
    TOOL_RESULT = "tool_result"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a turn. Members that its kind does not have are empty.

    - ``text``: what was written, thought, declined or returned by a tool; of audio its
      transcript; of an unknown part its JSON.
    - ``name``: of the tool or the file.
    - ``id``: of the tool call, in the call and in its result; of a file the one at its server.
    - ``arguments``: of a tool call, the JSON text as the model wrote it.
    - ``url``: of images, audio and files, an address or a ``data:`` URL.
    """

    kind: PartKind
    text: str = ""
    name: str = ""
    id: str = ""
    arguments: str = ""
    url: str = ""
    media_type: str = ""


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side said. ``role`` is as it was given, and empty for a plain prompt or text."""

    role: str
    parts: tuple[Part, ...]
    name: str = ""
    finish_reason: str = ""

    @property
    def is_understood(self) -> bool:
        """Whether something in the turn is known, or it is known that it says nothing."""
        return not self.parts or any(p.kind is not PartKind.UNKNOWN for p in self.parts)


@dataclass(frozen=True, slots=True)
class Usage:
    """Counts of tokens; None where the answer does not report them.

    ``prompt_tokens`` has those from the cache, too, whichever way the server counts.
    """

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Conversation:
    """A request with its turns, and the answer with its choices, of which the first counts.

    ``parameters`` are the members of the request beside its turns, as they were given.
    """

    turns: tuple[Turn, ...] = ()
    choices: tuple[Turn, ...] = ()
    usage: Usage | None = None
    model: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
