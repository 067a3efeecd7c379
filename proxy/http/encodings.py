"""Decompress bodies for our copy. What is forwarded stays as it is."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress

KNOWN = ("gzip", "x-gzip", "deflate")
# With 32 added, zlib detects by the first bytes whether it is gzip or zlib. A negative value
# means raw deflate.
GZIP_OR_ZLIB, BARE = 32 + zlib.MAX_WBITS, -zlib.MAX_WBITS
MEMBERS_MAX = 100_000  # gzip members in one body
PIECE = 2**20  # bytes that come out at a time, at most
# Bytes shown to zlib at a time: see ``_pieces``.
SMALLEST_WINDOW, LARGEST_WINDOW = 256, 64 * 2**10

Take = Callable[[int], bool]


class TooLarge(ValueError):
    """More bytes came out than are allowed."""


class NoRoom(ValueError):
    """No memory is left in the budget for the bytes that came out."""


def take_any(count: int) -> bool:
    """Reserve nothing: there is always room."""
    return True


def decode(body: bytes, encoding: str, limit: int, take: Take = take_any) -> bytes:
    """Return the body without its encoding. Raises ValueError if it is broken or unknown.

    Raises ``TooLarge`` above ``limit`` bytes. ``take`` reserves memory for each piece that comes
    out; when it refuses, this raises ``NoRoom``.
    """
    if not encoding:
        return body
    if encoding not in KNOWN:
        raise ValueError(f"The encoding {encoding!r:.40} is not understood.")
    try:
        return b"".join(_inflate(body, GZIP_OR_ZLIB, limit, take, []))
    except zlib.error as error:
        if encoding != "deflate":
            raise ValueError(f"The body is not valid {encoding}.") from error
    try:
        # Some servers send raw deflate.
        return b"".join(_inflate(body, BARE, limit, take, []))
    except zlib.error as error:
        raise ValueError("The body is not valid deflate.") from error


def _inflate(
    body: bytes, form: int, limit: int, take: Take, found: list[bytes]
) -> list[bytes]:
    """Return all members in pieces, put into ``found``, which never holds more than ``limit``."""
    size = 0
    for piece in _pieces(body, form):
        size += len(piece)
        if size > limit:
            raise TooLarge(f"Decompressed, the body is larger than {limit} bytes.")
        if not take(len(piece)):
            raise NoRoom("Decompressed, there is no room for the body.")
        found.append(piece)
    return found


def _pieces(body: bytes, form: int) -> Iterator[bytes]:
    """Yield what comes out, in bounded pieces. Raises ``zlib.error`` where it is broken.

    zlib returns the bytes behind the end of a member as a copy, and there may be a member every
    twenty bytes. So a member is shown a small part of the remaining input first, and larger ones
    as it goes on: otherwise most of the time would go into these copies.
    """
    view = memoryview(body)
    place = members = 0
    while place < len(view):
        members += 1
        if members > MEMBERS_MAX:
            raise ValueError(f"It has more than {MEMBERS_MAX} compressed members.")
        inflater = zlib.decompressobj(form)
        window = SMALLEST_WINDOW
        while not inflater.eof:
            given: bytes | memoryview = inflater.unconsumed_tail
            if not given:
                given = view[place : place + window]
                place += len(given)
                window = min(2 * window, LARGEST_WINDOW)
                if not given:
                    raise zlib.error("incomplete")
            yield inflater.decompress(given, PIECE)
        place -= len(inflater.unused_data)


def decoded_beginning(
    body: bytes, encoding: str, limit: int, take: Take = take_any
) -> tuple[bytes, str]:
    """Return as much of the body as can be decoded, and why that is not all ("" if it is).

    It is for streams: one that was cut off holds what its server said until then. ``limit`` and
    ``take`` are those of ``decode``.
    """
    if not encoding:
        return body, ""
    try:
        return decode(body, encoding, limit, take), ""
    except ValueError as error:
        if encoding not in KNOWN or isinstance(error, TooLarge):
            return body, str(error)
        problem = str(error)
    for form in (GZIP_OR_ZLIB, BARE) if encoding == "deflate" else (GZIP_OR_ZLIB,):
        found: list[bytes] = []
        with suppress(zlib.error, ValueError):
            _inflate(body, form, limit, take, found)
        if any(found):
            return b"".join(found), problem
    return body, problem
