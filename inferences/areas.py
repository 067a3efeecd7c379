"""Cells of the globe: a place as one whole number, near places mostly near.

The Morton code of longitude and latitude, 26 bits each: the bits of the two alternate,
so that a square of cells is a few ranges of codes.
"""

from __future__ import annotations

BITS = 26
SIDE = 1 << BITS


def cell_of(latitude: float, longitude: float) -> int:
    """The code of the cell that holds the place; degrees, 52 bits."""
    column = min(int((longitude + 180) / 360 * SIDE), SIDE - 1)
    row = min(int((latitude + 90) / 180 * SIDE), SIDE - 1)
    return _spread(column) | _spread(row) << 1


def _spread(number: int) -> int:
    """The bits of a number with a zero before each: abcd becomes 0a0b0c0d."""
    number = (number | number << 16) & 0x0000FFFF0000FFFF
    number = (number | number << 8) & 0x00FF00FF00FF00FF
    number = (number | number << 4) & 0x0F0F0F0F0F0F0F0F
    number = (number | number << 2) & 0x3333333333333333
    return (number | number << 1) & 0x5555555555555555
