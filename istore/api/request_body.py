"""Detect a request body that is incomplete, and refuse it.

WSGI shows the same empty read at the end of a body and after a broken connection.
``istore.asgi`` reads bodies to their end before Django sees a request, and sets a flag in the
environ. Under any other server only Content-Length can be compared with what arrived: a read
past the point where the body broke off raises ``BrokenOff``. A body without a length, which
cannot be told whole from cut, is refused.
"""

from __future__ import annotations

import io
from typing import IO, Any

WHOLE = "istore.body_is_whole"  # in the environ: it was read to its end already
INCOMPLETE = "incomplete-body"


class BrokenOff(OSError):
    """The connection ended before the body did."""


class LengthChecked(io.IOBase):
    """An input stream of exactly the declared length; a shorter one raises ``BrokenOff``."""

    def __init__(self, stream: IO[bytes], length: int) -> None:
        self._stream = stream
        self._left = length

    def read(self, size: int | None = -1) -> bytes:
        """Return ``size`` bytes, or fewer at the declared end of the body."""
        wanted = self._left if size is None or size < 0 else min(size, self._left)
        pieces = []
        while wanted:
            piece = self._counted(self._stream.read(wanted))
            pieces.append(piece)
            wanted -= len(piece)
        return b"".join(pieces)

    def readline(self, size: int | None = -1) -> bytes:
        wanted = self._left if size is None or size < 0 else min(size, self._left)
        return self._counted(self._stream.readline(wanted)) if wanted else b""

    def _counted(self, piece: bytes) -> bytes:
        if not piece:
            raise BrokenOff("The body broke off before its end.")
        self._left -= len(piece)
        return piece


def checked_stream(environ: dict[str, Any]) -> LengthChecked | None:
    """Return an input stream that checks the length, or None if the body is known to be whole."""
    length = environ.get("CONTENT_LENGTH") or ""
    if environ.get(WHOLE) or not length.isdecimal():
        return None
    return LengthChecked(environ["wsgi.input"], int(length))


def has_unknown_end(environ: dict[str, Any]) -> bool:
    """Return whether a truncated body could not be told from a whole one."""
    return bool(environ.get("HTTP_TRANSFER_ENCODING")) and not environ.get(WHOLE)
