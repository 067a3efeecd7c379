"""Checks of a session's whole answer: whether it fits a JSON schema, and its token usage.

Large answers are checked in a parser process (``parser_processes``), so this module must not
import anything that needs the database.
"""

from __future__ import annotations

from typing import Any

import orjson

from protocols.json_bounds import TooDeep, TooManyValues, check_json
from protocols.open_inference.bounded_json import MAX_VALUES
from protocols.streams import facts_of
from services.runners.schemas import TooMuchWork, misfit

DEPTH = 1000  # levels of nesting, as deep as the parser goes


class TooLargeToCheck(ValueError):
    """Checking the answer would be too much work, so nobody can tell whether it fits."""


def misfit_of(body: bytes, schema: dict[str, Any]) -> str:
    """Return what of the answer does not fit the schema; "" if it fits.

    Raises ``TooLargeToCheck``.
    """
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
    """Return the facts of the answer, such as token counts.

    Raises ValueError if it is not JSON.
    """
    return facts_of(_value(body))


def _value(body: bytes) -> Any:
    check_json(body, DEPTH, MAX_VALUES)
    return orjson.loads(body)
