"""Split a stream into events: server-sent events, JSON lines, and JSON text sequences.

Sources: https://html.spec.whatwg.org/multipage/server-sent-events.html, RFC 7464 for
``application/json-seq``, https://github.com/ndjson/ndjson-spec.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

BOM = b"\xef\xbb\xbf"
RECORD_SEPARATOR = b"\x1e"
LINE = re.compile(rb"[^\r\n]*(?:\r\n|\n|\r|$)")
# Lines of a stream, or JSON texts of a sequence. Empty ones take time as well: so many take
# about a second.
LINES_MAX = 2_000_000


class TooMuch(ValueError):
    """The stream holds more than is parsed of one stream."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event. ``end`` is how many bytes of the stream had come when it was complete.

    ``is_cut`` says that the stream ended before the event did, so its data may be incomplete.
    """

    data: bytes
    end: int
    name: str = ""
    is_cut: bool = False


def server_sent_events(stream: bytes) -> Iterator[Event]:
    """Yield the events of a stream; each ends with an empty line.

    Comments, and events without data, are skipped.
    """
    data: list[bytes] = []
    name = ""
    position = len(BOM) if stream.startswith(BOM) else 0
    for line, end, is_whole in _lines(stream, position):
        if not line and is_whole:
            if data:
                yield Event(b"\n".join(data), end, name)
            data, name = [], ""
            continue
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value.decode("utf-8", "replace")
    if data:
        yield Event(b"\n".join(data), len(stream), name, is_cut=True)


def json_lines(stream: bytes) -> Iterator[Event]:
    """Yield one JSON text for each line; a last line without a line end may be incomplete."""
    position = len(BOM) if stream.startswith(BOM) else 0
    for line, end, is_whole in _lines(stream, position):
        if line.strip():
            yield Event(line.strip(), end, is_cut=not is_whole)


def json_sequence(stream: bytes) -> Iterator[Event]:
    """Yield JSON texts, each of which begins with a record separator and ends with a line feed."""
    if RECORD_SEPARATOR not in stream:
        yield from json_lines(stream)
        return
    start = 0
    for _ in range(LINES_MAX):
        end = stream.find(RECORD_SEPARATOR, start)
        end = len(stream) if end < 0 else end
        text = stream[start:end]
        if bare := text.strip():
            yield Event(bare, end, is_cut=not text.endswith(b"\n"))
        start = end + 1
        if start > len(stream):
            return
    raise TooMuch(f"It has more than {LINES_MAX} JSON texts")


# By media type. All servers that send ``application/stream+json`` send JSON lines.
FRAMINGS: dict[str, Callable[[bytes], Iterator[Event]]] = {
    "text/event-stream": server_sent_events,
    "application/x-ndjson": json_lines,
    "application/ndjson": json_lines,
    "application/jsonl": json_lines,
    "application/jsonlines": json_lines,
    "application/x-jsonlines": json_lines,
    "application/stream+json": json_lines,
    "application/json-seq": json_sequence,
}


def media_type(content_type: str) -> str:
    """Return the media type of a Content-Type, in lower case, without its parameters."""
    return content_type.partition(";")[0].strip().lower()


def _lines(stream: bytes, start: int) -> Iterator[tuple[bytes, int, bool]]:
    """Yield each line without its end, the position behind it, and whether its end had come."""
    position, count = start, 0
    while position < len(stream):
        count += 1
        if count > LINES_MAX:
            raise TooMuch(f"It has more than {LINES_MAX} lines")
        found = LINE.match(stream, position)
        assert found is not None  # an empty line matches as well
        position = found.end()
        line = found[0]
        bare = line.rstrip(b"\r\n")
        yield bare, position, len(bare) < len(line)
