"""Cursors: the position where a page ended, as text bound to one query."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from dataclasses import dataclass

from inferences.search.pagination import BadCursor

HEAD = struct.Struct(">8sqI")  # hash of the query, row id, number of rows before it

Rank = float | str | None


@dataclass(frozen=True, slots=True)
class PagePosition:
    """The place of a row in an order: its rank, if it has one, and its id."""

    rank: Rank
    row_id: int


@dataclass(frozen=True, slots=True)
class Position:
    """The last row of a page, and how many rows come before the next page."""

    place: PagePosition
    passed: int


def write(position: Position, question: object) -> str:
    """Return the cursor of a position, as URL-safe base64 without padding.

    It holds a hash of the query's representation, so another query refuses it.
    """
    place = position.place
    # ``passed`` is an unsigned 32-bit field, so it is capped.
    head = HEAD.pack(_belongs_to(question), place.row_id, min(position.passed, 2**31))
    rank = b"" if place.rank is None else json.dumps(place.rank).encode()
    return base64.urlsafe_b64encode(head + rank).decode().rstrip("=")


def read(cursor: str, question: object) -> Position:
    """Return the position that a cursor holds.

    Raises ``BadCursor`` if it is malformed or was written for another query.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        packed = base64.b64decode(padded, altchars=b"-_", validate=True)
        belongs_to, row_id, passed = HEAD.unpack_from(packed)
    except (ValueError, struct.error):
        raise BadCursor("This is not a cursor of this store.") from None
    if belongs_to != _belongs_to(question):
        raise BadCursor("This cursor belongs to another filter or order.")
    try:
        rank = json.loads(packed[HEAD.size :]) if packed[HEAD.size :] else None
    except ValueError:
        raise BadCursor("This is not a cursor of this store.") from None
    is_large = isinstance(rank, int) and abs(rank) >= 2**63  # than any slot holds
    if is_large or isinstance(rank, bool | list | dict):
        raise BadCursor("This is not a cursor of this store.")
    return Position(PagePosition(rank, row_id), passed)


def _belongs_to(question: object) -> bytes:
    text = repr(question).encode("utf-8", "surrogatepass")
    return hashlib.sha256(text).digest()[:8]
