"""What four-byte floats hold: scores and vectors are stored, and measured, in them.

A number beyond them is refused, or set aside with a warning, and never brought in range: a
clipped score is not the one that was said, and a clipped vector has wrong distances. Of a
vector the squares must fit as well, because pgvector adds them up in four bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

REAL_MOST = 3.4028234663852886e38
# Squares of lengths within these, and of differences of two, neither over- nor underflow.
SHORTEST, LONGEST = 1e-18, 1e18


def fits(number: float) -> bool:
    """Whether four bytes hold the number, rounded; neither NaN nor infinities fit."""
    return -REAL_MOST <= number <= REAL_MOST


def as_real(bound: float) -> float:
    """The bound as four bytes hold it, so that 0.9 finds a stored 0.9.

    Beyond them it is infinite: no score lies there.
    """
    if not fits(bound):
        return math.copysign(math.inf, bound)
    return float(np.float32(bound))


def vector_problem(vector: Sequence[float]) -> tuple[str, int | None]:
    """What keeps a vector from being stored, and at which number; "" when nothing does."""
    wide = np.asarray(vector, np.float64)
    beyond = np.flatnonzero(~(np.abs(wide) <= REAL_MOST))  # NaN is among them
    if len(beyond):
        place = int(beyond[0])
        return f"{wide[place]!s} is beyond what four bytes hold.", place
    largest = float(np.abs(wide).max(initial=0.0))
    length = largest and largest * float(np.linalg.norm(wide / largest))
    if length and not SHORTEST <= length <= LONGEST:
        return (
            f"Its length {length:.3g} is not between {SHORTEST:g} and {LONGEST:g}, "
            "where distances can be measured.",
            None,
        )
    return "", None


def beyond_reals(
    parts: Mapping[str, Any], *, is_stored: bool = False
) -> tuple[tuple[str | int, ...], str] | None:
    """Where an answer's parts hold a score or a vector that cannot be stored, and why.

    Of what was stored before, in this store or another, the length of a vector is let be.
    """
    for name, part in parts.items():
        if name == "embedding":
            message, place = vector_problem(part)
            if message and not (is_stored and place is None):
                return (name, *(() if place is None else (place,))), message
        elif name == "embeddings" and isinstance(part, Mapping):
            for vector_name, vector in part.items():
                message, place = vector_problem(vector)
                if place is not None:
                    return (name, vector_name, place), message
        elif isinstance(part, list):
            for number, item in enumerate(part):
                score = item.get("score") if isinstance(item, Mapping) else None
                if type(score) in (int, float) and not fits(score):
                    message = f"{score!s:.40} is beyond what four bytes hold."
                    return (name, number, "score"), message
    return None
