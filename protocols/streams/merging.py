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
NAMES = {"name"}  # sent whole by most, again by some, in pieces by few


class Clash(ValueError):
    """A piece that does not go together with those before it."""


class Pieces(list[str]):
    """A text that comes in pieces."""


class Item(dict[str, Any]):
    """An object in a list, which later pieces find by its index or its id."""


def add(known: dict[str, Any], addition: dict[str, Any], *, joins: bool = True) -> None:
    """Add what one piece says to what is known. Without ``joins`` of texts the last counts."""
    for name, value in addition.items():
        known[name] = _added(known.get(name), name, value, joins)


def add_repeated(known: dict[str, Any], addition: dict[str, Any]) -> None:
    """As ``add`` of what stands beside the pieces: a list that comes again, as servers of
    citations send it with every event, is there once, and of texts the last counts."""
    for name, value in addition.items():
        if not (isinstance(value, list) and finish(known.get(name)) == value):
            known[name] = _added(known.get(name), name, value, joins=False)


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


def _added(known: Any, name: str, value: Any, joins: bool) -> Any:
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
        return [*known, {"type": "text", "text": value}] if value else known
    if not isinstance(known, Pieces):
        if known is not None and not isinstance(known, str):
            raise Clash(name)
        return Pieces([value] if known is None else [known, value])
    if name not in NAMES or value != "".join(known):
        known.append(value)
    return known


def _list(known: Any, name: str, value: list[Any], joins: bool) -> list[Any]:
    if isinstance(known, Pieces):
        before = "".join(known)
        known = [{"type": "text", "text": before}] if before else []
    items = [] if known is None else known
    if not isinstance(items, list):
        raise Clash(name)
    for each in value:
        if not isinstance(each, dict):
            items.append(each)
            continue
        place = _place(items, name, each)
        if place is None:
            items.append(Item())
            place = len(items) - 1
        add(items[place], each, joins=joins)
    return items


def _place(items: list[Any], name: str, piece: dict[str, Any]) -> int | None:
    """Which item a piece goes on with; None: it is a new one."""
    index, id_ = piece.get("index"), piece.get("id")
    is_numbered = type(index) is int
    for number, item in enumerate(items):
        if not isinstance(item, Item):
            continue
        if is_numbered and item.get("index") == index:
            return number
        if not is_numbered and id_ and item.get("id") == id_:
            return number
    if is_numbered or id_ or not items:
        return None
    # Neither index nor id: a call of a tool without a name goes on with the last one.
    function = piece.get("function")
    is_rest = isinstance(function, dict) and not function.get("name")
    return len(items) - 1 if is_rest and isinstance(items[-1], Item) else None
