"""Whether the run lengths of a mask say where each of its pixels belongs."""

from __future__ import annotations

import numpy as np

from inferences.predictions.parsers.values import Mask

LONGEST = 7  # characters of a count: seven times five bits hold any run


def complaint(mask: Mask) -> str:
    """What is wrong with the counts of a mask, or "" if they add up to its pixels."""
    if isinstance(mask.counts, str):
        counts = _read(mask.counts)
        if counts is None:
            return "Its counts cannot be decoded."
        if counts.size and counts.min() < 0:
            return "One of its counts is negative."
        total = int(counts.sum())
    else:
        total = sum(mask.counts)
    pixels = mask.height * mask.width
    if total != pixels:
        return (
            f"Its counts add up to {total} pixels, and {mask.height} by {mask.width} "
            f"are {pixels}."
        )
    return ""


def _read(text: str) -> np.ndarray | None:
    """COCO's compressed counts, all at once; None where it has no meaning.

    Six bits a character, the lowest first, the last one with the sign; from the fourth on
    a count is the difference to the last but one.
    """
    bits = np.frombuffer(text.encode("ascii"), np.uint8).astype(np.int64) - 48
    if not bits.size:
        return bits
    ends = np.flatnonzero(bits & 32 == 0)
    if bits.min() < 0 or bits.max() > 63 or not ends.size or ends[-1] != bits.size - 1:
        return None
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if lengths.max() > LONGEST:
        return None
    places = np.arange(bits.size) - np.repeat(starts, lengths)
    values = np.add.reduceat((bits & 31) << (5 * places), starts)
    values -= np.where(bits[ends] & 16, np.int64(1) << (5 * lengths), 0)
    values[1::2] = values[1::2].cumsum()
    values[2::2] = values[2::2].cumsum()
    return values
