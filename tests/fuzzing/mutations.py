"""Bytes that were something good, with some of it cut, doubled, turned or replaced."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

PIECES = [
    b"",
    b"\0",
    b"\xff" * 4,
    b"\xed\xa0\x80",
    b"\\ud800",
    b"\\u0000",
    b'"',
    b"[" * 100,
    b"{}" * 50,
    b",",
    b":",
    b"null",
    b"-1",
    b"1e999",
    b"NaN",
    b"9" * 400,
    b"\r\n\r\n",
    b"\xef\xbb\xbf",
    b"\x1e",
    b"data: ",
    b"\n\n",
    b"\x7f\xff\xff\xff\xff\xff\xff\xff",
]


@st.composite
def mutated(draw: Any, seeds: list[bytes]) -> bytes:
    """One of the seeds, with up to four things done to it; now and then none of them."""
    content = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(content)))
        length = draw(st.integers(0, 16) | st.integers(0, len(content)))
        piece = draw(st.sampled_from(PIECES) | st.binary(max_size=8))
        if draw(st.booleans()):  # doubled
            piece += content[start : start + length]
        content = content[:start] + piece + content[start + length :]
    return content
