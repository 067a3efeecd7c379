"""Write numbers and words of text queries so that they are read as the same."""

from __future__ import annotations

import re

SIMPLE = re.compile(r"[\w.-]+")


def number(value: float) -> str:
    """Return a number without a trailing ``.0``; the text parses as the same double."""
    return repr(float(value)).removesuffix(".0")


def quote(text: str) -> str:
    """Return the text in quotation marks, with its quotes and backslashes escaped."""
    escaped = re.sub(r'(["\\])', r"\\\1", text)
    return f'"{escaped}"'


def word(text: str) -> str:
    """Return the text bare where that parses the same, else in quotation marks."""
    return text if SIMPLE.fullmatch(text) else quote(text)
