"""Assemble a stream that ended into the answer that would have come without streaming.

A stream is understood when all of its events have one known format. Anything else is counted and
reported in a warning; then ``is_understood`` is False, and the stream must be kept as it came.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from protocols.json_bounds import weight_bound
from protocols.streams.exact_json import read
from protocols.streams.facts import Facts, facts_of
from protocols.streams.form import Form, Unknown
from protocols.streams.forms import FORMS
from protocols.streams.framing import FRAMINGS, Event, TooMuch, media_type
from protocols.streams.merging import Clash, whole_text

DONE = b"[DONE]"
ERROR = "error"
ERRORS_TOLD = 5  # errors with a warning of their own
HALF = "\ufffd"  # replaces half a surrogate pair
ERROR_CHARS = 300  # of an error in a warning
# A compressed stream may hold millions of events, and capture assembles others meanwhile. With
# a token in each event, no model writes as many as this; they take about two seconds.
EVENTS_MAX = 200_000
VALUES_MAX = 5_000_000  # of all events, as ``weight_bound`` counts: about four seconds


@dataclass(slots=True)
class Assembled:
    """What a stream amounts to. ``answer`` is None when no event was understood.

    ``text`` is the answer as JSON. ``first_token_end`` is how many bytes of the stream had come
    with the first event that held some of the answer itself.
    """

    answer: Any = None
    text: str = ""
    is_understood: bool = False
    has_ended: bool = False  # the server sent the end mark of its stream format
    has_error: bool = False
    facts: Facts = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    first_token_end: int | None = None


def assemble(stream: bytes, content_type: str, *, is_whole: bool = True) -> Assembled:
    """Return what the events of a stream amount to.

    ``is_whole`` says that the server ended the stream by itself. A content type without a known
    framing gives an empty result.
    """
    framing = FRAMINGS.get(media_type(content_type))
    if framing is None:
        return Assembled()
    reading = _Reading()
    try:
        for event in framing(stream):
            reading.take(event)
    except TooMuch as error:
        reading.has_too_much = str(error)
    return reading.result(is_whole)


class _Reading:
    """The state of a stream while its events are read."""

    def __init__(self) -> None:
        self._form: Form | None = None
        self._single: Any = None  # the last value: the answer if there is no other
        self._values = 0
        self._unknown = 0
        self._is_cut = False
        self._is_done = False
        self._errors: list[Any] = []
        self._first_token_end: int | None = None
        self._events = self._weight = 0
        self.has_too_much = ""  # why it was not read to its end

    def take(self, event: Event) -> None:
        """Take one event. Raises ``TooMuch`` before more is parsed than one stream may cost."""
        self._events += 1
        if self._events > EVENTS_MAX:
            raise TooMuch(f"It has more than {EVENTS_MAX} events")
        self._weight += weight_bound(event.data)
        if self._weight > VALUES_MAX:
            raise TooMuch(f"Its events hold more than {VALUES_MAX} values")
        if event.data.strip() == DONE:
            self._is_done = True
            return
        try:
            value = read(event.data)
        except ValueError:
            if event.name == ERROR:
                self._errors.append(event.data.decode("utf-8", "replace"))
            elif event.is_cut:
                self._is_cut = True
            else:
                self._unknown += 1
            return
        self._values += 1
        self._single = value
        if (error := _error_in(event, value)) is not None:
            self._errors.append(error)
            if not isinstance(value, dict) or "choices" not in value:
                return
        if not isinstance(value, dict) or not self._take_value(value, event.end):
            self._unknown += 1

    def _take_value(self, value: dict[str, Any], end: int) -> bool:
        if self._form is None:
            form = next((each for each in FORMS if each.knows(value)), None)
            if form is None:
                return False
            self._form = form()
        try:
            if self._form.take(value) and self._first_token_end is None:
                self._first_token_end = end
        except (Unknown, Clash):
            return False
        return True

    def result(self, is_whole: bool) -> Assembled:
        """Return the result, once all events are taken."""
        found = Assembled(
            has_error=bool(self._errors), first_token_end=self._first_token_end
        )
        for error in self._errors[:ERRORS_TOLD]:
            found.warnings.append(f"The stream holds an error: {_describe(error)}")
        form, unknown = self._form, self._unknown
        lost: list[str] = []
        if form is not None:
            found.answer = form.answer()
            self._tell_end(form, is_whole and not self.has_too_much, found)
            if not form.is_whole():
                lost.append("Its answer was put together in part")
        elif self._values == unknown == 1 and not self._errors:
            # A single event is the answer itself, whatever its format is.
            found.answer, unknown = self._single, 0
        if self._errors:
            error = self._errors[0]
            if found.answer is None:
                found.answer = {ERROR: error}
            elif isinstance(found.answer, dict):
                found.answer.setdefault(ERROR, error)
        found.facts = facts_of(found.answer)
        if found.answer is not None:
            written = json.dumps(
                found.answer, ensure_ascii=False, separators=(",", ":")
            )
            found.text = whole_text(written)
            if found.text.count(HALF) > written.count(HALF):
                lost.append("Half a character was replaced")
        if unknown:
            lost.append(f"{unknown} events were not understood")
        if self.has_too_much:
            lost.append(f"{self.has_too_much}, of which the first were read")
        if self._is_cut:
            lost.append("The last event was cut")
        if lost:
            found.warnings.append(f"{'; '.join(lost)}; the stream is kept as it came.")
        elif found.answer is None:
            found.warnings.append("The stream held no event.")
        found.is_understood = found.answer is not None and not lost
        return found

    def _tell_end(self, form: Form, is_whole: bool, found: Assembled) -> None:
        found.has_ended = form.has_ended or self._is_done
        if is_whole and form.end_mark and not found.has_ended and not self._errors:
            found.warnings.append(f"The stream ended without {form.end_mark}.")


def _error_in(event: Event, value: Any) -> Any:
    """Return the error that an event reports; None if it reports none.

    OpenAI and Ollama have a member ``error``; Anthropic and others have an event or a type of
    that name. OpenAI's responses can also fail as a whole.
    """
    if not isinstance(value, dict):
        return value if event.name == ERROR else None
    if value.get(ERROR):
        return value[ERROR]
    if event.name == ERROR or value.get("type") == ERROR:
        return value
    response = value.get("response")
    if value.get("type") == "response.failed" and isinstance(response, dict):
        return response.get(ERROR)
    return None


def _describe(error: Any) -> str:
    """Return the message of an error with its code, or else the whole error, shortened."""
    content = error
    if isinstance(error, dict):
        message = error.get("message", error.get("detail"))
        code = error.get("code", error.get("type"))
        if isinstance(message, str):
            content = f"{message} ({code})" if isinstance(code, str | int) else message
    text = (
        content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    )
    text = " ".join(text.split())
    return text if len(text) <= ERROR_CHARS else f"{text[: ERROR_CHARS - 1]}…"
