"""Comparisons with a number that is written without a type.

``gain>=2`` compares the key's int and float values alike. Each type has an index of its own,
so the comparison is split into one for each type. The split is exact: a double cannot hold
every whole number, and a whole number is never one half.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal

from inferences.models.metadata_values import LARGEST, SMALLEST, WHOLE
from inferences.search.filters.operands import read_list, write_list

# The comparison for one type: (operator, value), or that every value or none of it passes.
Comparison = tuple[str, str]
EVERY, NONE = "every", "none"
Side = Comparison | str
LISTS = ("in", "not in")
PLAIN = re.compile(r"[+-]?[0-9]{1,400}(\.[0-9]{0,400})?")


def of_whole_numbers(operator: str, value: str) -> Side:
    """Return the comparison that int values must pass."""
    if operator in LISTS:
        kept = [
            str(int(each)) for each in map(_exactly, read_list(value)) if _fits(each)
        ]
        return _of_list(operator, kept)
    number = _exactly(value)
    if operator in ("=", "!="):
        if _fits(number):
            return operator, str(int(number))
        return NONE if operator == "=" else EVERY
    # For whole numbers, < 2.5 is the same as <= 2.
    if operator in ("<", "<="):
        is_strict = operator == "<"
        most = math.ceil(number) - 1 if is_strict else math.floor(number)
        if most >= LARGEST:
            return EVERY
        return NONE if most < SMALLEST else ("<=", str(most))
    least = math.floor(number) + 1 if operator == ">" else math.ceil(number)
    if least <= SMALLEST:
        return EVERY
    return NONE if least > LARGEST else (">=", str(least))


def of_decimal_numbers(operator: str, value: str) -> Side:
    """Return the comparison that float values must pass.

    A decimal number means the double that it parses as, the same as when it is stored. A
    whole number means itself, which may lie between two doubles.
    """
    if operator in LISTS:
        kept = [each for each in read_list(value) if _is_double(each)]
        return _of_list(operator, kept)
    if _is_double(value):
        return operator, value
    if operator in ("=", "!="):
        return NONE if operator == "=" else EVERY
    double = float(int(value))
    is_above = int(double) > int(value)
    sign = operator[0]
    is_included = is_above if sign == ">" else not is_above
    return (f"{sign}=" if is_included else sign), repr(double)


def _of_list(operator: str, kept: list[str]) -> Side:
    if not kept:
        return NONE if operator == "in" else EVERY
    return operator, write_list(kept) or ""


def _exactly(text: str) -> Decimal:
    """Return the number exactly as written; with an exponent, the double that it parses as."""
    plain = PLAIN.fullmatch(text.strip())
    return Decimal(plain[0]) if plain else Decimal(float(text))


def _fits(number: Decimal) -> bool:
    return number == number.to_integral_value() and SMALLEST <= number <= LARGEST


def _is_double(text: str) -> bool:
    """Return whether the text means a double: every decimal does, not every whole number."""
    text = text.strip()
    return not WHOLE.fullmatch(text) or int(float(int(text))) == int(text)
