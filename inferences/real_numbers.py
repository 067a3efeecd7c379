"""The limits of four-byte floats, in which scores and vectors are stored and measured.

A number beyond them is refused, or left out with a warning. It is never clipped: a clipped
score is not the one that the model gave, and a clipped vector has wrong distances. The
squares of a vector's numbers must fit as well, because pgvector adds them up in four bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

REAL_MOST = 3.4028234663852886e38  # the largest finite float of four bytes (FLT_MAX)
# The square of a length within these neither overflows nor underflows four bytes, and
# neither does the square of the difference of two such vectors.
SHORTEST, LONGEST = 1e-18, 1e18


def fits(number: float) -> bool:
    """Return whether four bytes hold the number, rounded. NaN and infinities do not fit."""
    return -REAL_MOST <= number <= REAL_MOST


def as_real(bound: float) -> float:
    """Return the bound rounded to four bytes, so that 0.9 finds a stored 0.9.

    A bound beyond their range becomes infinite: no score lies there.
    """
    if not fits(bound):
        return math.copysign(math.inf, bound)
    return float(np.float32(bound))


def vector_problem(vector: Sequence[float]) -> tuple[str, int | None]:
    """Return why a vector cannot be stored, and the index of the number at fault.

    The text is empty when the vector can be stored. The index is None when its length is at
    fault.
    """
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
    """Return the path and the reason of the first score or vector that cannot be stored.

    ``parts`` is the answer's collection. With ``is_stored`` the answer was stored before,
    here or in another store, and the length of its vector is not checked. Returns None if
    all of it fits.
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
                score: Any = item.get("score") if isinstance(item, Mapping) else None
                if type(score) in (int, float) and not fits(score):
                    message = f"{score!s:.40} is beyond what four bytes hold."
                    return (name, number, "score"), message
    return None
