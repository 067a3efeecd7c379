"""What the pieces of an answer come to: texts join, lists extend, objects merge.

The rules hold for members that nobody has heard of, so that a server that streams something
new loses nothing:

- texts join, unless the name says that it is one word that may be repeated (``id``, ``type``);
- lists extend; items that are objects merge with the one of the same ``index`` or ``id``;
- objects merge, member by member;
- of numbers and booleans the last counts, and null takes nothing away;
- what is of another kind than what came before is a ``Clash``, as it would replace it.

Growing texts are lists of pieces until ``finish``: a long answer joins once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

# Words that servers send once or with every piece: repeated, they do not grow.
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
KEYS = (INDEX, "id")  # of an item in a list; the first that a piece has counts
NAMES = {"name"}  # sent whole by most, again by some, in pieces by few


class Clash(ValueError):
    """A piece that does not go together with those before it."""


class Pieces(list[str]):
    """A text that comes in pieces."""

    def __init__(self, pieces: Iterable[str] = ()) -> None:
        super().__init__(pieces)
        self._length = sum(map(len, self))

    def append(self, piece: str) -> None:
        if piece:
            super().append(piece)
            self._length += len(piece)

    def is_text(self, text: str) -> bool:
        """Whether they come to this text. They are joined for one of their length alone,
        so that the pieces of a long text are not joined anew for each short one."""
        return len(text) == self._length and text == "".join(self)


class Item(dict[str, Any]):
    """An object in a list, which later pieces find by its index or its id."""


class Items(list[Any]):
    """A list that grows, and where in it the items of each index and id are.

    An item is found by every id that it has had; of several the first counts.
    """

    def __init__(self, items: Iterable[Any] = ()) -> None:
        super().__init__(items)
        self._places: dict[tuple[str, Any], int] = {}

    def take(self, piece: dict[str, Any], joins: bool) -> None:
        """Go on with the item that the piece is of, or begin one."""
        place = self._place(piece)
        if place is None:
            place = len(self)
            self.append(Item())
        item = self[place]
        try:
            add(item, piece, joins=joins)
        finally:  # what did not clash is there
            for name in KEYS:
                if (key := _as_key(name, item.get(name))) is not None:
                    self._places.setdefault(key, place)

    def _place(self, piece: dict[str, Any]) -> int | None:
        """Which item a piece goes on with; None: it is a new one."""
        if (key := _key(piece)) is not None:
            return self._places.get(key)
        # Neither index nor id: a call of a tool without a name goes on with the last one.
        function = piece.get("function")
        is_rest = isinstance(function, dict) and not function.get("name")
        return (
            len(self) - 1 if is_rest and self and isinstance(self[-1], Item) else None
        )


def add(known: dict[str, Any], addition: dict[str, Any], *, joins: bool = True) -> None:
    """Add what one piece says to what is known. Without ``joins`` of texts the last counts."""
    for name, value in addition.items():
        known[name] = _add(known.get(name), name, value, joins)


def add_repeated(known: dict[str, Any], addition: dict[str, Any]) -> None:
    """As ``add`` of what stands beside the pieces: a list that comes again, as servers of
    citations send it with every event, is there once, and of texts the last counts."""
    for name, value in addition.items():
        if not (isinstance(value, list) and known.get(name) == value):
            known[name] = _add(known.get(name), name, value, joins=False)


def finish(value: Any) -> Any:
    """The value with every text in one piece."""
    if isinstance(value, Pieces):
        return whole_text("".join(value))
    if isinstance(value, dict):
        return {name: finish(each) for name, each in value.items()}
    if isinstance(value, list):
        return [finish(each) for each in value]
    return value


def whole_text(text: str) -> str:
    """Halves of a surrogate pair that came in two pieces are one character again."""
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
        # The parts of a message, of which this is one more.
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
    """What the piece says of the item that it is of: its index, else its id."""
    keys = (_as_key(name, piece.get(name)) for name in KEYS)
    return next((key for key in keys if key is not None), None)


def _as_key(name: str, value: Any) -> tuple[str, Any] | None:
    if name == INDEX:
        return (name, value) if type(value) is int else None
    return (name, value) if value and isinstance(value, str | int | float) else None
