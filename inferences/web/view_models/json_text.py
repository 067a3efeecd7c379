"""Format JSON for people: indented, lists of numbers on one line, with syntax colours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from protocols.json_text import TOO_DEEP

INDENT = "  "
LINE_CHARS = 88
SHOWN_CHARS = 200_000
DEPTH_MAX = 80


def highlight(text: str) -> tuple[SafeString, bool]:
    """Return the text as HTML, and whether it is complete. Other text than JSON stays as it is."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return escape(text[:SHOWN_CHARS]), len(text) <= SHOWN_CHARS
    parts: list[str] = []
    room = SHOWN_CHARS
    for part in _write(value, 0):
        room -= len(part)
        if room < 0:
            return mark_safe("".join(parts)), False
        parts.append(part)
    return mark_safe("".join(parts)), True


def _write(value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, dict) and value and depth < DEPTH_MAX:
        yield "{"
        for number, (name, each) in enumerate(value.items()):
            yield f"{',' if number else ''}\n{INDENT * (depth + 1)}"
            yield f'<span class="j-key">{escape(_text(name))}</span>: '
            yield from _write(each, depth + 1)
        yield f"\n{INDENT * depth}}}"
    elif isinstance(value, list) and value and depth < DEPTH_MAX:
        yield from _list(value, depth)
    else:
        yield _scalar(value)


def _list(value: list[Any], depth: int) -> Iterator[str]:
    if any(isinstance(each, dict | list) and each for each in value):
        yield "["
        for number, each in enumerate(value):
            yield f"{',' if number else ''}\n{INDENT * (depth + 1)}"
            yield from _write(each, depth + 1)
        yield f"\n{INDENT * depth}]"
        return
    yield "["
    column = 0
    for number, each in enumerate(value):
        width = len(_text(each)) + 2
        comma = "," if number else ""
        if column and column + width > LINE_CHARS:
            yield f"{comma}\n{INDENT * (depth + 1)}"
            column = 0
        elif number:
            yield f"{comma} "
        column += width
        yield _scalar(each)
    yield "]"


def _scalar(value: Any) -> str:
    kind = {str: "string", bool: "word", type(None): "word"}.get(type(value), "number")
    return f'<span class="j-{kind}">{escape(_text(value))}</span>'


def _text(value: Any) -> str:
    """Return JSON that a page can hold: half a surrogate pair stays escaped, as it came."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return TOO_DEEP
    return text.encode("utf-8", "backslashreplace").decode()
