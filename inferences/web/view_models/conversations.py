"""A conversation for a page: some of its turns, each text as far as a page shows it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

from django.utils.safestring import SafeString

from inferences.web.markdown import plain_text, render_markdown
from inferences.web.view_models.json_text import highlight
from protocols.conversations import Conversation, Part, PartKind, Turn, turn_text
from protocols.json_text import as_json

TURNS_SHOWN = 40
PARTS_SHOWN = 60  # of one turn
TEXT_SHOWN = 20_000  # characters of a text; Markdown of so many takes some 20 ms
PAGE_CHARS = 200_000  # of all texts of a page
# A text that is all brackets takes seconds in Markdown: further ones are shown as written.
MARKDOWN_SECONDS = 1.0
LEAST_SHOWN = 600  # of each text, when the others have used up the page
CHOICES_SHOWN = 100
EXCERPT_CHARS = 400
UNSTORABLE = "\0"
TITLES = {"t": "Prompt", "c": "Answer"}
# Served as what they are; everything else that is no picture is a download.
AUDIO_TYPES = {
    *("audio/wav", "audio/x-wav", "audio/mpeg", "audio/mp3", "audio/ogg", "audio/webm"),
    *("audio/flac", "audio/aac", "audio/mp4", "audio/opus"),
}


@dataclass(frozen=True, slots=True)
class PartView:
    """A part of a turn. ``place`` names it in addresses, such as ``t3.1``."""

    kind: str
    place: str
    html: SafeString | None = None  # a text in Markdown, or JSON in colours
    text: str = ""
    left: int = 0  # characters that are not shown
    after: int = 0  # how many are shown, where the rest goes on
    name: str = ""
    id: str = ""
    link: str = ""  # an address elsewhere
    is_here: bool = False  # whether its bytes are in the conversation
    media_type: str = ""
    is_played: bool = False

    @property
    def rest(self) -> str:
        """The parameters of the address that shows the rest of the text."""
        return urlencode({"part": self.place, "after": self.after})


@dataclass(frozen=True, slots=True)
class TurnView:
    """A turn. ``number`` counts from 1; ``place`` is its name within the page."""

    role: str
    title: str
    name: str
    number: int
    place: str
    parts: Sequence[PartView]
    parts_left: int = 0
    finish_reason: str = ""


@dataclass(frozen=True, slots=True)
class ChoiceLink:
    """A choice to look at."""

    number: int
    value: str  # of the parameter ``choice``
    is_current: bool


@dataclass(frozen=True, slots=True)
class ConversationView:
    """The turns from ``first`` on, and the answer that was chosen."""

    turns: Sequence[TurnView]
    answer: TurnView | None
    choices: Sequence[ChoiceLink]
    total: int
    first: int
    following: int | None
    preceding: int | None
    is_plain: bool
    parameters: Sequence[tuple[str, str]] = ()
    tools: Sequence[tuple[str, str, SafeString]] = ()

    @property
    def left(self) -> int:
        """The number of turns behind those that are shown."""
        return self.total - self.first - len(self.turns)


@dataclass(slots=True)
class _Room:
    """How many characters the page may still show."""

    left: int = PAGE_CHARS
    is_plain: bool = False
    names: dict[str, str] = field(default_factory=dict)  # of tools, by the ids of calls
    seconds: float = MARKDOWN_SECONDS  # that Markdown may still take

    def render(self, text: str) -> SafeString | None:
        """Return a text in Markdown as HTML; None once the page's time for it is used up."""
        if self.is_plain or self.seconds <= 0:
            return None
        began = time.thread_time()
        written = render_markdown(text)
        self.seconds -= time.thread_time() - began
        return written

    def take(self, text: str) -> str:
        most = max(min(TEXT_SHOWN, self.left), LEAST_SHOWN)
        shown = text[:most]
        self.left -= len(shown)
        return shown


def view_conversation(
    conversation: Conversation,
    *,
    first: int = 0,
    choice: int = 0,
    is_plain: bool = False,
    count: int = TURNS_SHOWN,
) -> ConversationView:
    """Return the part of a conversation that a page shows."""
    room = _Room(is_plain=is_plain, names=_tool_names(conversation))
    total = len(conversation.turns)
    first = max(0, min(first, total - 1)) if total else 0
    chosen = min(max(choice, 0), max(len(conversation.choices) - 1, 0))
    # The answer first: it is what one came for, and the room may end with long turns.
    answer = (
        _turn(conversation.choices[chosen], chosen, "c", room)
        if conversation.choices
        else None
    )
    turns = [
        _turn(turn, first + number, "t", room)
        for number, turn in enumerate(conversation.turns[first : first + count])
    ]
    end = first + len(turns)
    return ConversationView(
        turns,
        answer,
        _choices(conversation, chosen),
        total,
        first,
        end if end < total else None,
        max(first - count, 0) if first else None,
        is_plain,
        _parameters(conversation),
        _tools(conversation),
    )


def rest_of_text(part: Part, place: str, after: int) -> PartView:
    """Return the next piece of a long text, from so many characters on, as it was written."""
    text = part.text or part.arguments
    shown = text[after : after + TEXT_SHOWN]
    end = after + len(shown)
    return PartView(part.kind, place, None, _clean(shown), len(text) - end, end)


def last_user_text(conversation: Conversation) -> str:
    """Return the beginning of what was asked last: by a person, if one has a turn."""
    people = [turn for turn in conversation.turns if turn.role in ("user", "human", "")]
    asked = (people or conversation.turns)[-1:]
    return excerpt(asked[0]) if asked else ""


def excerpt(turn: Turn) -> str:
    """Return the beginning of what a turn says, on one line, without marks of Markdown."""
    return _clean(plain_text(turn_text(turn)[: 2 * EXCERPT_CHARS])[:EXCERPT_CHARS])


def _turn(turn: Turn, number: int, side: str, room: _Room) -> TurnView:
    parts = [
        _part(part, f"{side}{number}.{place}", room)
        for place, part in enumerate(turn.parts[:PARTS_SHOWN])
    ]
    return TurnView(
        turn.role,
        _clean(turn.role[:80]) or TITLES[side],
        _clean(turn.name[:200]),
        number + 1,
        f"{side}{number}",
        parts,
        len(turn.parts) - len(parts),
        _clean(turn.finish_reason[:80]),
    )


def _part(part: Part, place: str, room: _Room) -> PartView:
    match part.kind:
        case PartKind.TEXT | PartKind.REASONING | PartKind.REFUSAL:
            return _text(part, part.text, place, room)
        case PartKind.TOOL_CALL:
            return _json(part, part.arguments, place, room)
        case PartKind.TOOL_RESULT | PartKind.UNKNOWN:
            return _json(part, part.text, place, room)
        case _:
            return _media(part, place, room)


def _text(part: Part, text: str, place: str, room: _Room) -> PartView:
    shown = room.take(text)
    left = len(text) - len(shown)
    # A text that is cut is shown as it was written: what is cut may be within a block of code.
    html = None if left > 0 else room.render(_clean(shown))
    return PartView(part.kind, place, html, _clean(shown), left, len(shown))


def _json(part: Part, text: str, place: str, room: _Room) -> PartView:
    shown = room.take(text)
    left = len(text) - len(shown)
    html = None if left else highlight(_clean(shown))[0]
    name = part.name or room.names.get(part.id, "")
    return PartView(
        part.kind,
        place,
        html,
        _clean(shown),
        left,
        len(shown),
        name=_clean(name[:200]),
        id=_clean(part.id[:200]),
    )


def _media(part: Part, place: str, room: _Room) -> PartView:
    is_here = part.url[:5].lower() == "data:"
    media_type = part.media_type.partition(";")[0].strip().lower()[:100]
    shown = room.take(part.text)
    return PartView(
        part.kind,
        place,
        text=_clean(shown),
        left=len(part.text) - len(shown),
        after=len(shown),
        name=_clean(part.name[:200]),
        id=_clean(part.id[:200]),
        link="" if is_here else _web_address(part.url),
        is_here=is_here,
        media_type=_clean(media_type),
        is_played=part.kind is PartKind.AUDIO and media_type in AUDIO_TYPES,
    )


def _web_address(url: str) -> str:
    """Return an address that a person may follow; "" for another kind of address."""
    try:
        parts = urlsplit(url[:4000])
    except ValueError:
        return ""
    return url[:4000] if parts.scheme in ("http", "https") and parts.netloc else ""


def _tool_names(conversation: Conversation) -> dict[str, str]:
    return {
        part.id: part.name
        for turn in (*conversation.turns, *conversation.choices)
        for part in turn.parts
        if part.kind is PartKind.TOOL_CALL and part.id
    }


def _choices(conversation: Conversation, chosen: int) -> list[ChoiceLink]:
    count = min(len(conversation.choices), CHOICES_SHOWN)
    if count < 2:
        return []
    return [ChoiceLink(n + 1, str(n), n == chosen) for n in range(count)]


PARAMETERS_SHOWN, VALUE_CHARS, TOOLS_SHOWN = 40, 200, 60


def _parameters(conversation: Conversation) -> list[tuple[str, str]]:
    """Return the settings of the request, without its tools, which are long."""
    shown = []
    for name, value in conversation.parameters.items():
        if name in ("tools", "functions", "metadata") or value is None:
            continue
        text = value if isinstance(value, str) else as_short_json(value)
        shown.append((_clean(str(name)[:80]), _clean(text[:VALUE_CHARS])))
    return shown[:PARAMETERS_SHOWN]


def as_short_json(value: object) -> str:
    """Return a value as JSON, shortened."""
    text = as_json(value)
    return text if len(text) <= VALUE_CHARS else f"{text[: VALUE_CHARS - 1]}…"


def _tools(conversation: Conversation) -> list[tuple[str, str, SafeString]]:
    """Return name, description and schema of each tool that the model was offered."""
    given = conversation.parameters.get("tools")
    offered = given if isinstance(given, list) else []
    found = []
    for each in offered[:TOOLS_SHOWN]:
        inner = each.get("function", each) if isinstance(each, dict) else None
        if not isinstance(inner, dict):
            continue
        name, told = inner.get("name"), inner.get("description")
        schema = inner.get("parameters", inner.get("input_schema", {}))
        written, _ = highlight(as_json(schema)[:TEXT_SHOWN])
        found.append(
            (
                _clean(name[:200]) if isinstance(name, str) else "?",
                _clean(told[:1000]) if isinstance(told, str) else "",
                written,
            )
        )
    return found


def _clean(text: str) -> str:
    """Return the text without NUL, which no browser shows."""
    return text.replace(UNSTORABLE, "\ufffd")
