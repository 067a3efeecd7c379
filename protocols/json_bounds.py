"""Bounds on the depth and size of a JSON text, checked before anything parses it.

A parser turns three bytes of text into an object of some 60 to 250 bytes, and holds the
interpreter lock while it does: a small compressed request can be an hour of that. Counting the
structural characters takes some nanoseconds a byte, and a fixed amount of memory.
"""

from __future__ import annotations

import numpy as np

CONTAINER_WEIGHT = 4  # a list or an object takes the memory of so many numbers
SLICE = 1 << 20  # bytes looked at together, which bounds the memory

QUOTE, OPENING, CLOSING, SEPARATOR = 2, 1, 0xFF, 4
_STRUCTURE = b'"[]{},:'
_OTHER = bytes(set(range(256)) - set(_STRUCTURE))
_MARKS = bytes.maketrans(
    _STRUCTURE,
    bytes([QUOTE, OPENING, CLOSING, OPENING, CLOSING, SEPARATOR, SEPARATOR]),
)


class TooDeep(ValueError):
    """The text is nested deeper than allowed."""


class TooManyValues(ValueError):
    """The text holds more values than allowed."""


def weight_bound(text: bytes) -> int:
    """Return an upper bound of the weight of a text.

    The weight is the number of values, where a list or an object counts four and a name in an
    object one. The bound is exact where no string holds a structural character.
    """
    return _bounds(text)[1]


def _bounds(text: bytes) -> tuple[int, int]:
    """Return upper bounds of depth and weight.

    All characters but the structural ones are dropped first: that is one quick pass, where
    ``count`` is a slow one for each character.
    """
    structure = text.translate(None, _OTHER)
    containers = structure.count(b"[") + structure.count(b"{")
    separators = structure.count(b",") + structure.count(b":")
    return containers, 1 + separators + CONTAINER_WEIGHT * containers


def check_json(text: bytes, max_depth: int, max_weight: int) -> int:
    """Return the weight, or an upper bound of it, in linear time.

    Raises ``TooDeep`` or ``TooManyValues`` above the limits. Only the structure is looked at: a
    text that is not JSON may pass.
    """
    depth_bound, weight = _bounds(text)
    if depth_bound <= max_depth and weight <= max_weight:
        return weight
    depth, weight, in_string, is_escaped = 0, 1, 0, False
    for start in range(0, len(text), SLICE):
        piece = text[start : start + SLICE]
        piece, is_escaped = _without_escapes(piece, is_escaped)
        marks = np.frombuffer(piece.translate(_MARKS, _OTHER), np.uint8)
        if not len(marks):
            continue
        # Without escapes every quote opens or ends a string, so the parity of the quotes so
        # far tells which marks lie in a string. The sum wraps at 256, which keeps the parity.
        is_quote = marks == QUOTE
        quotes = np.cumsum(is_quote, dtype=np.uint8) + np.uint8(in_string)
        in_string = int(quotes[-1] & 1)
        outside = marks[~((quotes & 1).astype(bool) | is_quote)]
        if not len(outside):
            continue
        opened = outside == OPENING
        weight += int(np.count_nonzero(outside == SEPARATOR))
        weight += CONTAINER_WEIGHT * int(np.count_nonzero(opened))
        if weight > max_weight:
            raise TooManyValues(f"The JSON holds more than {max_weight} values.")
        steps = np.where(outside == SEPARATOR, 0, outside.view(np.int8))
        levels = np.cumsum(steps, dtype=np.int32)
        if depth + int(levels.max()) > max_depth:
            raise TooDeep(f"The JSON is nested deeper than {max_depth} levels.")
        depth += int(levels[-1])
    return weight


def _without_escapes(piece: bytes, is_escaped: bool) -> tuple[bytes, bool]:
    """Return a slice of the text without escaped characters, and whether it ends within one."""
    if is_escaped:
        piece = piece[1:]
    if b"\\" not in piece:
        return piece, False
    run = len(piece) - len(piece.rstrip(b"\\"))  # of backslashes at the end
    ends_within = run % 2 == 1
    if ends_within:
        piece = piece[:-1]
    # A run of backslashes is read in pairs from the left, and ``replace`` does the same.
    return piece.replace(b"\\\\", b"").replace(b'\\"', b""), ends_within
