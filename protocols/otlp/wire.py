"""Walk the wire format of protobuf without building messages.

A message object takes some fifty bytes for two bytes of input. So what a client sends is first cut
into the slices of its spans, which are counted, and only slices whose cost is bounded are parsed.
"""

from __future__ import annotations

from collections.abc import Iterator

from protocols.otlp.spans import TooMuch, Unreadable

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
VARINT_BYTES = 10
FIELDS_MAX = 500_000  # of one request, as far as it is walked


class Walk:
    """A walk over the fields of a message, which ends where there are too many of them.

    It costs about a microsecond for each field, however small, so their number is bounded for
    the whole request.
    """

    def __init__(self, body: bytes, left: int = FIELDS_MAX) -> None:
        self.view = memoryview(body)
        self._left = left

    def fields(
        self, start: int = 0, end: int | None = None
    ) -> Iterator[tuple[int, int, int, int]]:
        """Yield number, wire type, and the range of the content, of each field of a message.

        Raises ``Unreadable`` where the bytes are no message, or have too many fields.
        """
        body = self.view
        at, stop = start, len(body) if end is None else end
        while at < stop:
            self._left -= 1
            if self._left < 0:
                raise TooMuch("The request has too many fields.")
            tag = body[at]
            at += 1
            if tag & 0x80:
                tag, at = varint(body, at - 1, stop)
            number, kind = tag >> 3, tag & 7
            if not number:
                raise Unreadable("A field of the message has the number 0.")
            if kind == LENGTH:
                size, at = varint(body, at, stop)
                begin, at = at, at + size
            elif kind == VARINT:
                begin = at
                _, at = varint(body, at, stop)
            elif kind in (FIXED64, FIXED32):
                begin, at = at, at + (8 if kind == FIXED64 else 4)
            else:
                raise Unreadable(f"The message has a field of the wire type {kind}.")
            if at > stop:
                raise Unreadable("The message breaks off.")
            yield number, kind, begin, at


def varint(body: memoryview, at: int, stop: int) -> tuple[int, int]:
    """Return a number of variable length, and where it ends."""
    value = shift = 0
    for place in range(at, min(at + VARINT_BYTES, stop)):
        byte = body[place]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place + 1
        shift += 7
    raise Unreadable("The message breaks off in a number, or has one that is too long.")


def write_status(code: int, message: str) -> bytes:
    """Return a ``google.rpc.Status``, of which OTLP has no message class of its own."""
    text = message.encode()
    return b"\x08%b\x12%b%b" % (_varint(code), _varint(len(text)), text)


def _varint(number: int) -> bytes:
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*written, number])
