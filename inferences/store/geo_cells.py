"""Cells of the globe: a position as one whole number.

Near positions mostly have near numbers. The number is the Morton code (Z-order) of
longitude and latitude, 26 bits each. Their bits alternate, so a square of cells is a few
ranges of codes.
"""

from __future__ import annotations

from dataclasses import dataclass

BITS = 26
SIDE = 1 << BITS
MOST_RANGES = 12  # each is an OR branch of the query

Span = tuple[int, int]


def cell_of(latitude: float, longitude: float) -> int:
    """Return the code (52 bits) of the cell that holds the position, given in degrees."""
    column = min(int((longitude + 180) / 360 * SIDE), SIDE - 1)
    row = min(int((latitude + 90) / 180 * SIDE), SIDE - 1)
    return _spread(column) | _spread(row) << 1


def _spread(number: int) -> int:
    """Return the bits of a number with a zero before each: abcd becomes 0a0b0c0d."""
    number = (number | number << 16) & 0x0000FFFF0000FFFF
    number = (number | number << 8) & 0x00FF00FF00FF00FF
    number = (number | number << 4) & 0x0F0F0F0F0F0F0F0F
    number = (number | number << 2) & 0x3333333333333333
    return (number | number << 1) & 0x5555555555555555


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in degrees. Edges are included, and west is not east of east."""

    south: float
    west: float
    north: float
    east: float


def around(south: float, west: float, north: float, east: float) -> list[Box]:
    """Return the box, split in two where it crosses the antimeridian.

    ``west`` may be below -180 and ``east`` above 180.
    """
    if east - west >= 360:
        return [Box(south, -180, north, 180)]
    if west < -180:
        return [Box(south, west + 360, north, 180), Box(south, -180, north, east)]
    if east > 180:
        return [Box(south, west, north, 180), Box(south, -180, north, east - 360)]
    return [Box(south, west, north, east)]


def ranges(box: Box, most: int = MOST_RANGES) -> list[tuple[int, int]]:
    """Return at most ``most`` ranges [low, high) of codes that cover every cell of the box.

    Squares of the quadtree are split, the largest first, until there are enough; neighbours
    are joined. The ranges may hold cells outside the box: the reader must test the position
    itself.
    """
    columns, rows = (
        _span(box.west, box.east, 360, 180),
        _span(box.south, box.north, 180, 90),
    )
    inside: list[tuple[int, int]] = []
    waiting = [(0, 0, BITS)]  # corner and size (as a power of two) of each square
    while waiting:
        waiting.sort(key=lambda square: square[2])
        column, row, bits = waiting.pop()
        if _is_covered(column, row, bits, columns, rows) or bits == 0:
            inside.append(_codes(column, row, bits))
            continue
        half = 1 << bits - 1
        parts = [
            (c, r, bits - 1)
            for r in (row, row + half)
            for c in (column, column + half)
            if _meets(c, r, bits - 1, columns, rows)
        ]
        if len(inside) + len(waiting) + len(parts) > most:
            inside.append(_codes(column, row, bits))
            inside += [_codes(*square) for square in waiting]
            break
        waiting += parts
    return _join(inside)


def _span(low: float, high: float, whole: int, offset: int) -> tuple[int, int]:
    first = min(int((low + offset) / whole * SIDE), SIDE - 1)
    return first, min(int((high + offset) / whole * SIDE), SIDE - 1)


def _meets(column: int, row: int, bits: int, columns: Span, rows: Span) -> bool:
    last = (1 << bits) - 1
    return (
        column <= columns[1]
        and column + last >= columns[0]
        and row <= rows[1]
        and row + last >= rows[0]
    )


def _is_covered(column: int, row: int, bits: int, columns: Span, rows: Span) -> bool:
    last = (1 << bits) - 1
    return (
        columns[0] <= column
        and column + last <= columns[1]
        and rows[0] <= row
        and row + last <= rows[1]
    )


def _codes(column: int, row: int, bits: int) -> tuple[int, int]:
    first = _spread(column) | _spread(row) << 1
    return first, first + (1 << 2 * bits)


def _join(found: list[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for low, high in sorted(found):
        if joined and joined[-1][1] == low:
            joined[-1] = (joined[-1][0], high)
        else:
            joined.append((low, high))
    return joined
