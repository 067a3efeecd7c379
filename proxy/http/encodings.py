"""Bodies that came compressed, read for our copy; what is forwarded stays as it is."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress

KNOWN = ("gzip", "x-gzip", "deflate")
# With 32 added zlib tells gzip from its own form by the first bytes.
GZIP_OR_ZLIB, BARE = 32 + zlib.MAX_WBITS, -zlib.MAX_WBITS
MEMBERS_MAX = 100_000
PIECE = 2**20
SMALLEST_WINDOW, LARGEST_WINDOW = 256, 64 * 2**10

Take = Callable[[int], bool]


class TooLarge(ValueError):
    """More came out than may."""


class NoRoom(ValueError):
    """More is held already than may be."""


def _take_any(count: int) -> bool:
    return True


def decode(body: bytes, encoding: str, most: int, take: Take = _take_any) -> bytes:
    """The body without its encoding. Raises ``TooLarge``, or ValueError if broken.

    ``take`` is asked for the bytes of each piece that comes out; where it has none left
    this raises ``NoRoom``.
    """
    if not encoding:
        return body
    if encoding not in KNOWN:
        raise ValueError(f"The encoding {encoding!r:.40} is not understood.")
    try:
        return _inflate(body, GZIP_OR_ZLIB, most, take)
    except zlib.error as error:
        if encoding != "deflate":
            raise ValueError(f"The body is not valid {encoding}.") from error
    try:
        return _inflate(body, BARE, most, take)  # what some call deflate
    except zlib.error as error:
        raise ValueError("The body is not valid deflate.") from error


def _inflate(body: bytes, form: int, most: int, take: Take) -> bytes:
    """All members, one after the other, and never much more than ``most`` bytes."""
    found: list[bytes] = []
    size = 0
    for piece in _pieces(body, form):
        size += len(piece)
        if size > most:
            raise TooLarge(f"Decompressed, the body is larger than {most} bytes.")
        if not take(len(piece)):
            raise NoRoom("Decompressed, there is no room for the body.")
        found.append(piece)
    return b"".join(found)


def _pieces(body: bytes, form: int) -> Iterator[bytes]:
    """What comes out, a bounded piece at a time. Raises ``zlib.error`` where it is broken.

    A member is shown a small part of what is left, and more of it as it goes on: what lies
    behind its end is handed back as a copy, and there may be a member every twenty bytes.
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


def decoded_beginning(body: bytes, encoding: str, most: int) -> tuple[bytes, str]:
    """As much of the body as can be decoded, and why that is not all.

    Of streams: one that was cut holds what its server had said until then.
    """
    if not encoding:
        return body, ""
    try:
        return decode(body, encoding, most), ""
    except ValueError as error:
        if encoding not in KNOWN or isinstance(error, TooLarge):
            return body, str(error)
        problem = str(error)
    for form in (GZIP_OR_ZLIB, BARE) if encoding == "deflate" else (GZIP_OR_ZLIB,):
        found: list[bytes] = []
        with suppress(zlib.error, ValueError):
            for piece in _pieces(body, form):
                found.append(piece)
        if any(found):
            return b"".join(found)[:most], problem
    return body, problem
