"""Read JSON strictly, from a body or a file, and write it compactly.

Texts are UTF-8. NaN, infinities, numbers that overflow (``1e400``), duplicate keys, and
strings with a NUL or a lone surrogate are refused. Depth and number of values are checked
before anything is parsed.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from datetime import UTC, datetime
from typing import Any, NoReturn

import orjson
from django.conf import settings

from istore.errors import BadInput
from protocols.json_bounds import TooDeep, TooManyValues, check_json

REFUSED = re.compile("[\x00\ud800-\udfff]")
ZEROS, LONG_NUMBER = bytes.maketrans(b"123456789", b"0" * 9), b"0" * 19
UNREAD = object()
LARGEST_DIGITS = 400  # of an integer; a longer one is out of every range


def read_json(
    body: bytes,
    *,
    depth: int | None = None,
    values: int | None = None,
    nan_is_null: bool = False,
) -> Any:
    """Return the value of a JSON text. Raises ``BadInput`` with a code that says why not.

    With ``nan_is_null`` a NaN is read as null: Python's ``json`` and pandas write gaps so.
    """
    most = values or settings.ISTORE_JSON_MAX_VALUES
    deepest = depth or settings.ISTORE_JSON_MAX_DEPTH
    value = _read_quickly(body, deepest, most)
    if value is not UNREAD:
        return value
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _refused(
            "invalid-encoding", f"Byte {error.start} is not UTF-8."
        ) from None
    if text.startswith("\ufeff"):
        _refuse("invalid-encoding", "The text begins with a byte order mark.")
    _check_bounds(body, deepest, most)
    try:
        value = (WITH_GAPS if nan_is_null else STRICT).decode(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise _refused("malformed-json", f"{error.msg}: {where}.") from None
    if b"\\u" in body:  # only an escape can produce a NUL or a lone surrogate
        _check_strings(value)
    return value


def _read_quickly(body: bytes, depth: int, values: int) -> Any:
    """Return the value by orjson, or ``UNREAD`` where orjson may read it in another way.

    Of a name that stands twice orjson keeps the last, so the value would be written with
    fewer colons than the text has. It reads a whole number beyond 64 bits as a float.
    """
    # All digits made zeros: finding a run of them takes a tenth of an expression's time.
    if b"\\u" in body or LONG_NUMBER in body.translate(ZEROS):
        return UNREAD
    try:
        check_json(body, depth, values)
        value = orjson.loads(body)
        is_whole = orjson.dumps(value).count(b":") == body.count(b":")
    except (TooDeep, TooManyValues, ValueError, TypeError):
        return UNREAD  # the strict reader says what is wrong
    return value if is_whole else UNREAD


def _check_bounds(body: bytes, depth: int, values: int) -> None:
    try:
        check_json(body, depth, values)
    except TooDeep:
        _refuse("json-too-deep", f"More than {depth} levels are not read.")
    except TooManyValues as error:
        _refuse("too-many-values", str(error))


def _check_strings(value: Any) -> None:
    """Refuse strings that PostgreSQL cannot store, anywhere in the value."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            if REFUSED.search(each):
                _refuse(
                    "invalid-encoding", "A string holds a NUL or half a surrogate pair."
                )
        elif isinstance(each, dict):
            waiting += [*each.keys(), *each.values()]
        elif isinstance(each, list):
            waiting += each


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        (twice, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        _refuse("duplicate-key", f"{twice[:100]!r} stands twice in one object.")
    return value


def _constant(name: str) -> NoReturn:
    _refuse("number-out-of-range", f"{name} is not a number that JSON knows.")


def _gap(name: str) -> None:
    if name != "NaN":
        _constant(name)


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        _refuse("number-out-of-range", f"{text[:40]} is out of range.")
    return value


def _int(text: str) -> int:
    if len(text) > LARGEST_DIGITS:
        _refuse("number-out-of-range", "A number has too many digits.")
    return int(text)


STRICT = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_constant=_constant,
    parse_float=_float,
    parse_int=_int,
)


WITH_GAPS = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_constant=_gap,
    parse_float=_float,
    parse_int=_int,
)


def write_json(value: Any) -> str:
    """Return the compact JSON text under which a value is stored."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # a whole number beyond 64 bits
        return json.dumps(value, separators=(",", ":"))


def format_moment(moment: datetime) -> str:
    """Return a time as JSON has it: in RFC 3339, UTC, with microseconds."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="microseconds")[:-6] + "Z"


def _refused(code: str, detail: str) -> BadInput:
    return BadInput(code, detail)


def _refuse(code: str, detail: str) -> NoReturn:
    raise _refused(code, detail)
