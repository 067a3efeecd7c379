"""Parse and write the lists of values in a filter; errors are ValueErrors."""

from __future__ import annotations

import re

from django.conf import settings

ITEM = re.compile(r"((?:[^\\,\[\]]|\\.)*)(?:,|$)", re.DOTALL)
BLANKS = " \t\r\n"


def read_list(text: str) -> list[str]:
    r"""Return the values of ``[a, b\, c]``; a backslash escapes a comma or bracket.

    Raises ValueError if it is no such list, is empty or has too many values.
    """
    inner = text.strip(BLANKS)
    if len(inner) < 2 or inner[0] != "[" or inner[-1] != "]" or _ends_escaped(inner):
        raise ValueError(f"{_show(text)} is not a list such as [a, b].")
    values, position, inner = [], 0, inner[1:-1]
    if not inner.strip(BLANKS):
        raise ValueError("A list has at least one value.")
    while position <= len(inner):
        found = ITEM.match(inner, position)
        if not found:
            raise ValueError(f"{_show(text)} holds a bracket or backslash on its own.")
        values.append(_plain(found[1]))
        if len(values) > settings.ISTORE_FILTER_MAX_VALUES:
            raise ValueError(f"More than {settings.ISTORE_FILTER_MAX_VALUES} values.")
        if found.end() == len(inner) and not found[0].endswith(","):
            break
        position = found.end()
    return values


def write_list(values: list[str]) -> str | None:
    """Return the values in the form that ``read_list`` parses, or None for no values."""
    if not values:
        return None
    return f"[{', '.join(_write(value) for value in values)}]"


def _plain(item: str) -> str:
    """Return the item without its outer blanks and with its escapes resolved."""
    trimmed = item.lstrip(BLANKS)
    # An escaped blank belongs to the value.
    while trimmed and trimmed[-1] in BLANKS and not _ends_escaped(trimmed):
        trimmed = trimmed[:-1]
    return re.sub(r"\\(.)", r"\1", trimmed, flags=re.DOTALL)


def _write(value: str) -> str:
    escaped = re.sub(r"([\\,\[\]])", r"\\\1", value)
    if value and value[-1] in BLANKS:
        escaped = f"{escaped[:-1]}\\{escaped[-1]}"
    if value and value[0] in BLANKS and not escaped.startswith("\\"):
        escaped = f"\\{escaped}"
    return escaped


def _ends_escaped(text: str) -> bool:
    """Return whether the last character has an odd number of backslashes before it."""
    before = text[:-1]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1


def _show(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:39]}…")
