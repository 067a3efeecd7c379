"""Merge the pieces of an answer: texts join, lists extend, objects merge.

The rules also hold for unknown members, so that nothing is lost when a server streams something
new:

- texts join, unless the name says that it is one word that may be repeated (``id``, ``type``);
- lists extend; items that are objects merge with the item of the same ``index`` or ``id``;
- objects merge, member by member;
- of numbers and booleans the last counts, and null removes nothing;
- a value of another kind than the one before is a ``Clash``, because it would replace that.

Texts that grow are lists of pieces until ``finish``, so that a long answer is joined once.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any, overload

# Members that servers send once, or with every piece: their repeats are not joined.
WORDS = {
    "call_id",
    "created_at",
    "finish_reason",
    "format",
    "id",
    "model",
    "object",
    "phase",
    "provider",
    "role",
    "status",
    "stop_reason",
    "type",
}
INDEX = "index"
# What identifies an item of a list; the first of them that a piece has counts.
KEYS = (INDEX, "id")
NAMES = {"name"}  # most servers send it once, some repeat it, few send it in pieces


class Clash(ValueError):
    """A piece that cannot be merged with those before it."""


class Pieces(list[str]):
    """A text that comes in pieces."""

    def __init__(self, pieces: Iterable[str] = ()) -> None:
        super().__init__(pieces)
        self._length = sum(map(len, self))

    def append(self, piece: str) -> None:
        """Add a piece to the text."""
        if piece:
            super().append(piece)
            self._length += len(piece)

    def is_text(self, text: str) -> bool:
        """Return whether the pieces amount to this text.

        They are joined only if the lengths are equal, so that a long text is not joined again
        for each short one.
        """
        return len(text) == self._length and text == "".join(self)


class Item(dict[str, Any]):
    """An object in a list, which later pieces refer to by its index or its id."""


class Items(list[Any]):
    """A list that grows, with an index of its items by ``index`` and ``id``.

    An item is found by every id that it has had; if several items had an id, the first counts.
    """

    def __init__(self, items: Iterable[Any] = ()) -> None:
        super().__init__(items)
        self._places: dict[tuple[str, Any], int] = {}

    def take(self, piece: dict[str, Any], joins: bool) -> None:
        """Merge a piece into its item, or begin a new item."""
        place = self._place(piece)
        if place is None:
            place = len(self)
            self.append(Item())
        item = self[place]
        try:
            add(item, piece, joins=joins)
        finally:  # after a ``Clash``, the members before it are merged already
            for name in KEYS:
                if (key := _as_key(name, item.get(name))) is not None:
                    self._places.setdefault(key, place)

    def _place(self, piece: dict[str, Any]) -> int | None:
        """Return the position of the item that a piece belongs to; None for a new item."""
        if (key := _key(piece)) is not None:
            return self._places.get(key)
        # Neither index nor id: a tool call without a function name continues the last item.
        function = piece.get("function")
        is_rest = isinstance(function, dict) and not function.get("name")
        return (
            len(self) - 1 if is_rest and self and isinstance(self[-1], Item) else None
        )


def add(known: dict[str, Any], addition: dict[str, Any], *, joins: bool = True) -> None:
    """Merge a piece into what is known. Without ``joins`` the last of several texts counts."""
    for name, value in addition.items():
        known[name] = _add(known.get(name), name, value, joins)


def add_repeated(known: dict[str, Any], addition: dict[str, Any]) -> None:
    """Merge members that stand beside the pieces, as ``add`` without ``joins`` does.

    A list that is repeated is kept once: servers send citations with every event.
    """
    for name, value in addition.items():
        if not (isinstance(value, list) and known.get(name) == value):
            known[name] = _add(known.get(name), name, value, joins=False)


@overload
def finish(value: dict[str, Any]) -> dict[str, Any]: ...
@overload
def finish(value: Any) -> Any: ...
def finish(value: Any) -> Any:
    """Return the value with every text in one piece."""
    if isinstance(value, Pieces):
        return whole_text("".join(value))
    if isinstance(value, dict):
        return {name: finish(each) for name, each in value.items()}
    if isinstance(value, list):
        return [finish(each) for each in value]
    return value


def join_base64(pieces: Pieces) -> str:
    """Return one base64 text for pieces that are base64 each; joined as they are if one is not.

    Pieces of sound are encoded one by one, so padding may stand at the end of each.
    """
    if not any(piece.endswith("=") for piece in pieces[:-1]):
        return "".join(pieces)
    try:
        whole = b"".join(base64.b64decode(piece, validate=True) for piece in pieces)
    except ValueError:
        return "".join(pieces)
    return base64.b64encode(whole).decode()


def whole_text(text: str) -> str:
    """Return the text; halves of a surrogate pair that came in two pieces are one character."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        pairs = text.encode("utf-16-le", "surrogatepass")
        return pairs.decode("utf-16-le", "replace")
    return text


def _add(known: Any, name: str, value: Any, joins: bool) -> Any:
    if value is None:
        return known
    if isinstance(value, str):
        return _text(known, name, value, joins)
    if isinstance(value, list):
        return _list(known, name, value, joins)
    if isinstance(value, dict):
        inner = {} if known is None else known
        if not isinstance(inner, dict):
            raise Clash(name)
        add(inner, value, joins=joins)
        return inner
    if isinstance(known, list | dict):
        raise Clash(name)
    return value


def _text(known: Any, name: str, value: str, joins: bool) -> Any:
    if isinstance(known, dict):
        raise Clash(name)
    if not joins or name in WORDS:
        return value if value or not isinstance(known, str) else known
    if isinstance(known, list) and not isinstance(known, Pieces):
        # The list holds the parts of a message, and the text is one more of them.
        items = _items(known)
        if value:
            items.append({"type": "text", "text": value})
        return items
    if not isinstance(known, Pieces):
        if known is not None and not isinstance(known, str):
            raise Clash(name)
        return Pieces([value] if known is None else [known, value])
    if name not in NAMES or not known.is_text(value):
        known.append(value)
    return known


def _list(known: Any, name: str, value: list[Any], joins: bool) -> list[Any]:
    if isinstance(known, Pieces):
        before = "".join(known)
        known = [{"type": "text", "text": before}] if before else []
    if known is not None and not isinstance(known, list):
        raise Clash(name)
    items = _items(known)
    for each in value:
        if isinstance(each, dict):
            items.take(each, joins)
        else:
            items.append(each)
    return items


def _items(known: list[Any] | None) -> Items:
    return known if isinstance(known, Items) else Items(known or ())


def _key(piece: dict[str, Any]) -> tuple[str, Any] | None:
    """Return what identifies the item of a piece: its index, else its id."""
    keys = (_as_key(name, piece.get(name)) for name in KEYS)
    return next((key for key in keys if key is not None), None)


def _as_key(name: str, value: Any) -> tuple[str, Any] | None:
    if name == INDEX:
        return (name, value) if type(value) is int else None
    return (name, value) if value and isinstance(value, str | int | float) else None
