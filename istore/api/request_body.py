"""The body of a request of the web, which is whole or is refused.

A server hands over what arrived, and an end of it looks the same whether the client had
sent everything or the connection broke. ``istore.asgi`` reads bodies to their end before
Django sees a request, and says so in the environ. Under any other server only a
Content-Length can be held against what came: a read past the point where the body broke
off raises ``BrokenOff``, and a body without a length, which nobody can tell whole from
cut, is refused.
"""

from __future__ import annotations

import io
from typing import IO, Any

WHOLE = "istore.body_is_whole"  # in the environ: it was read to its end already
INCOMPLETE = "incomplete-body"


class BrokenOff(OSError):
    """The connection ended before the body did."""


class LengthChecked(io.IOBase):
    """An input of which as many bytes come as the client said, or ``BrokenOff``."""

    def __init__(self, stream: IO[bytes], length: int) -> None:
        self._stream = stream
        self._left = length

    def read(self, size: int = -1) -> bytes:
        """As many bytes as are asked for, unless the body ends before."""
        wanted = self._left if size is None or size < 0 else min(size, self._left)
        pieces = []
        while wanted:
            piece = self._counted(self._stream.read(wanted))
            pieces.append(piece)
            wanted -= len(piece)
        return b"".join(pieces)

    def readline(self, size: int = -1) -> bytes:
        wanted = self._left if size is None or size < 0 else min(size, self._left)
        return self._counted(self._stream.readline(wanted)) if wanted else b""

    def _counted(self, piece: bytes) -> bytes:
        if not piece:
            raise BrokenOff("The body broke off before its end.")
        self._left -= len(piece)
        return piece


def checked_stream(environ: dict[str, Any]) -> LengthChecked | None:
    """The input, raising where the body is shorter than was said; None: it is whole."""
    length = environ.get("CONTENT_LENGTH") or ""
    if environ.get(WHOLE) or not length.isdecimal():
        return None
    return LengthChecked(environ["wsgi.input"], int(length))


def has_unknown_end(environ: dict[str, Any]) -> bool:
    """Whether nobody could tell the whole body from a part of it."""
    return bool(environ.get("HTTP_TRANSFER_ENCODING")) and not environ.get(WHOLE)
