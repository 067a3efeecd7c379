"""What a whole answer of a session says: whether it fits a schema, and what it cost.

These run in a process of their own when the answer is large (``parser_processes``), so
nothing is imported here that needs the database.
"""

from __future__ import annotations

from typing import Any

import orjson

from protocols.json_bounds import TooDeep, TooManyValues, check_json
from protocols.open_inference.bounded_json import MAX_VALUES
from protocols.streams import facts_of
from services.runners.schemas import TooMuchWork, misfit

DEPTH = 1000  # as deep as the parser goes


class TooLargeToCheck(ValueError):
    """Nobody can tell whether the answer is as it should be."""


def misfit_of(body: bytes, schema: dict[str, Any]) -> str:
    """What of the answer does not fit; "" if it fits. Raises ``TooLargeToCheck``."""
    try:
        value = _value(body)
    except (TooDeep, TooManyValues) as error:
        raise TooLargeToCheck(str(error)) from None
    except ValueError:
        return "It is not JSON."
    try:
        return misfit(schema, value, len(body))
    except TooMuchWork as error:
        raise TooLargeToCheck(str(error)) from None


def facts_in(body: bytes) -> dict[str, str | int | float]:
    """Raises ValueError where it cannot be read."""
    return facts_of(_value(body))


def _value(body: bytes) -> Any:
    check_json(body, DEPTH, MAX_VALUES)
    return orjson.loads(body)
