"""What the contract says of filters and statistics, in plain Python on plain records.

Written from the contract alone, to be compared with what the database answers. Slow and
simple on purpose: no index, no slot, no SQL.
"""

from __future__ import annotations

import json
import math
import re
import struct
import unicodedata
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

RADIUS = 6_371_008.8
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
TEXT_NUMBER_CHARS = 400
ABSENT = object()
BLANKS = " \t\r\n"
COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "in": lambda a, b: a in b,
    "not in": lambda a, b: a not in b,
    "contains": lambda a, b: b in a,
    "starts with": lambda a, b: a.startswith(b),
}


@dataclass
class Record:
    """An inference as its caller knows it; ``metadata`` is ``{key: (type, text)}``."""

    inference_id: str
    created_at: datetime
    action: str = "detect"
    data_hash: str = "00" * 32
    source: str | None = None
    metadata: dict[str, tuple[str, str]] = field(default_factory=dict)
    latitude: float | None = None
    longitude: float | None = None
    detections: list[tuple[str, float | None]] | None = None
    distribution: list[tuple[str, float | None]] | None = None  # if one class answers
    is_protected: bool = False
    has_input: bool = False
    has_warnings: bool = False
    is_not_understood: bool = False
    failure: str = ""
    status: int | None = None
    dataset: str | None = None  # the one that it was added to
    prompt: str = ""
    answer: str = ""
    trace: str | None = None  # whose span it is
    truth: str | None = None  # the label that came true, of the best of detections


def found(records: Iterable[Record], body: dict[str, Any]) -> list[str]:
    """The ids that pass ``filters`` and ``filter`` of a request, oldest first."""
    passing = [
        each
        for each in records
        if passes(each, body.get("filters") or {})
        and ("filter" not in body or passes(each, body["filter"]))
    ]
    return [each.inference_id for each in sorted(passing, key=lambda r: r.created_at)]


def passes(record: Record, asked: dict[str, Any]) -> bool:
    """Whether everything that is given is true of the record."""
    return all(TESTS[name](record, value) for name, value in asked.items())


# Metadata


def _in_metadata(record: Record, asked: dict[str, str]) -> bool:
    if asked["type"] == "number":
        return _is_number(record, asked)
    value = observed(record, asked["key"], asked["type"])
    if value is ABSENT:
        return False
    read = OPERANDS[asked["type"]]
    if asked["operator"] in ("in", "not in"):
        operand: Any = [read(item) for item in items(asked["value"])]
    else:
        operand = read(asked["value"])
    return COMPARE[asked["operator"]](value, operand)


def _is_number(record: Record, asked: dict[str, str]) -> bool:
    """A number without a type: Python compares ints with floats exactly."""
    kind, text = record.metadata.get(asked["key"], (None, ""))
    if kind not in ("int", "float"):
        return False
    value = READ[kind](text)
    if asked["operator"] in ("in", "not in"):
        operand: Any = [_literal(item, kind) for item in items(asked["value"])]
    else:
        operand = _literal(asked["value"], kind)
    return COMPARE[asked["operator"]](value, operand)


def _literal(text: str, kind: str) -> Any:
    """A whole number is exact; a decimal one is a double beside a float value."""
    text = text.strip()
    if re.fullmatch("-?[0-9]{1,19}", text):
        return int(text)
    is_plain = re.fullmatch(r"[+-]?[0-9]+(\.[0-9]*)?", text)
    return Fraction(text) if is_plain and kind == "int" else float(text)


def observed(record: Record, key: str, type_: str) -> Any:
    """The value that a comparison of that type looks at, or ABSENT."""
    if not type_.startswith("json."):
        kind, text = record.metadata.get(key, (None, ""))
        return READ[type_](text) if kind == type_ else ABSENT
    first, *path = key.split(".")
    kind, text = record.metadata.get(first, (None, ""))
    if kind != "json":
        return ABSENT
    leaf = json.loads(text, parse_float=Decimal)
    for step in path:
        if isinstance(leaf, dict) and step in leaf:
            leaf = leaf[step]
        elif isinstance(leaf, list) and re.fullmatch("0|[1-9][0-9]*", step):
            if int(step) >= len(leaf):
                return ABSENT
            leaf = leaf[int(step)]
        else:
            return ABSENT
    if type_ == "json.string":
        return leaf if isinstance(leaf, str) else ABSENT
    number = _number(leaf)
    if number is None:
        return ABSENT
    if type_ == "json.float":
        return float(number)
    if abs(number) < 2**53:  # up to here the double that it reads as is what counts
        number = Fraction(float(number))
    return int(number) if number == int(number) else ABSENT


def _number(leaf: Any) -> Fraction | None:
    """The number a JSON value is, or that its text says; None beyond all doubles."""
    if isinstance(leaf, str):
        if len(leaf) > TEXT_NUMBER_CHARS or not NUMBER.fullmatch(leaf):
            return None
        leaf = Decimal(leaf)
    if isinstance(leaf, bool) or not isinstance(leaf, int | Decimal):
        return None
    try:
        return Fraction(leaf) if math.isfinite(float(leaf)) else None
    except OverflowError:
        return None


READ = {"string": str, "int": int, "float": float}
OPERANDS = READ | {"json.string": str, "json.int": int, "json.float": float}


def items(text: str) -> list[str]:
    """``[a, b]``, read one character after the other."""
    values, value, keep = [], "", 0
    characters = iter(text.strip(BLANKS)[1:-1])
    for character in characters:
        if character == "\\":
            value += next(characters)
            keep = len(value)  # an escaped blank is no outer one
        elif character == ",":
            values.append(value[:keep] + value[keep:].rstrip(BLANKS))
            value, keep = "", 0
        elif value or character not in BLANKS:
            value += character
    return [*values, value[:keep] + value[keep:].rstrip(BLANKS)]


# Detections


def _single(score: float) -> float:
    """Scores are held, and compared, in four bytes."""
    return struct.unpack("f", struct.pack("f", score))[0]


SCORES = {
    "minimum_score": COMPARE[">="],
    "maximum_score": COMPARE["<="],
    "above_score": COMPARE[">"],
    "below_score": COMPARE["<"],
}


def _detected(record: Record, asked: dict[str, Any]) -> bool:
    bounds = [(SCORES[name], _single(asked[name])) for name in asked.keys() & SCORES]
    return any(
        label in asked.get("labels", [label])
        and all(score is not None and test(_single(score), b) for test, b in bounds)
        for label, score in record.detections or ()
    )


def best_class(
    distribution: list[tuple[str, float | None]],
) -> list[tuple[str, float | None]]:
    """The first of the classes with the highest probability, alone."""
    ranked = [-math.inf if s is None else _single(s) for _, s in distribution]
    return [distribution[ranked.index(max(ranked))]] if ranked else []


def _among_classes(record: Record, asked: dict[str, Any]) -> bool:
    bounds = [(SCORES[name], _single(asked[name])) for name in asked.keys() & SCORES]
    return any(
        label == asked["label"]
        and all(score is not None and test(_single(score), b) for test, b in bounds)
        for label, score in record.distribution or ()
    )


# Places


def distance(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Metres along the great circle between two places in degrees (haversine)."""
    (lat_a, lon_a), (lat_b, lon_b) = [
        (math.radians(p[0]), math.radians(p[1])) for p in (a, b)
    ]
    half = (
        math.sin((lat_a - lat_b) / 2) ** 2
        + math.cos(lat_a) * math.cos(lat_b) * math.sin((lon_a - lon_b) / 2) ** 2
    )
    return 2 * RADIUS * math.asin(min(1, math.sqrt(half)))


def _located(record: Record, asked: dict[str, Any]) -> bool:
    if not asked:
        return True
    if record.latitude is None or record.longitude is None:
        return False
    within = True
    if circle := asked.get("gps_coordinates_circle"):
        center = circle["center"]["latitude"], circle["center"]["longitude"]
        away = distance((record.latitude, record.longitude), center)
        within = away <= circle["radius"]
    if corners := asked.get("gps_coordinates_rectangle"):
        within = within and _in_rectangle(record, corners["p1"], corners["p2"])
    return within


def _in_rectangle(record: Record, p1: dict[str, float], p2: dict[str, float]) -> bool:
    south, north = sorted((p1["latitude"], p2["latitude"]))
    west, east = sorted((p1["longitude"], p2["longitude"]))
    width = Fraction(east) - Fraction(west)
    if width > 180:  # the shorter way leads over the antimeridian
        west, width = east, 360 - width
    eastward = (Fraction(record.longitude) - Fraction(west)) % 360
    return south <= record.latitude <= north and eastward <= width


def near_a_boundary(record: Record, circle: dict[str, Any]) -> bool:
    """Too near the edge for two ways of rounding to agree."""
    if record.latitude is None or record.longitude is None:
        return False
    center = circle["center"]["latitude"], circle["center"]["longitude"]
    away = distance((record.latitude, record.longitude), center)
    # Near the antipode the arc sine turns the last bit of its argument into metres.
    blurred = 2.0 if away > 0.999 * math.pi * RADIUS else 1e-6
    return abs(away - circle["radius"]) < blurred + 1e-12 * away and away > 0


# Everything else


def moment(text: str) -> datetime:
    read = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def _in_window(record: Record, asked: dict[str, str]) -> bool:
    start = moment(asked.get("start", "1970-01-01T00:00:00Z"))
    end = moment(asked["end"]) if "end" in asked else datetime.now(UTC)
    return start <= record.created_at <= end


def _has_key(record: Record, asked: dict[str, str]) -> bool:
    type_ = asked.get("type")
    if type_ and type_.startswith("json."):
        return observed(record, asked["key"], type_) is not ABSENT
    given = record.metadata.get(asked["key"])
    return given is not None and type_ in (None, given[0])


def _truth(record: Record, state: str) -> bool:
    if state in ("given", "missing"):
        return (record.truth is not None) == (state == "given")
    if record.truth is None or record.detections is None:
        return False
    scored = [(label, -math.inf if s is None else s) for label, s in record.detections]
    best = max(scored, key=lambda pair: pair[1], default=(None, 0))[0]
    return (best == record.truth) == (state == "agrees")


def _status(record: Record, asked: str) -> bool:
    if asked in ("ok", "failed"):
        return bool(record.failure) == (asked == "failed")
    if not asked[0].isdigit():
        return record.failure == asked
    return record.status is not None and all(
        a in ("x", b) for a, b in zip(asked, str(record.status), strict=True)
    )


def _word(key: str) -> Callable[[Record, str], bool]:
    return lambda record, value: record.metadata.get(key) == ("string", value)


# Words


def _says(*sides: str) -> Callable[[Record, str], bool]:
    def passes(record: Record, asked: str) -> bool:
        texts = [_words(getattr(record, side)) for side in sides]
        return any(
            all(_has_item(texts, *item) for item in re.findall(ITEM, group))
            for group in asked.split(" OR ")
        )

    return passes


ITEM = r'(-?)(?:"([^"]*)"|(\S+))'


def _has_item(texts: list[list[str]], sign: str, quoted: str, bare: str) -> bool:
    given = quoted or bare
    words, is_prefix = _words(given), given.endswith("*")
    has = not words or any(
        _starts(text[place:], words, is_prefix)
        for text in texts
        for place in range(len(text))
    )
    return has != bool(sign)


def _starts(text: list[str], words: list[str], is_prefix: bool) -> bool:
    if is_prefix and len(text) >= len(words):
        *before, last = words
        here = text[: len(words)]
        return here[:-1] == before and here[-1].startswith(last)
    return text[: len(words)] == words


def _words(text: str) -> list[str]:
    """Letters, digits and marks in a row; each Chinese character alone."""
    words, word = [], ""
    for character in [*unicodedata.normalize("NFC", text.lower()), " "]:
        is_chinese = "\u4e00" <= character <= "\u9fff"
        if unicodedata.category(character)[0] in "LNM" and not is_chinese:
            word += character
            continue
        words += [word] if word else []
        words += [character] if is_chinese else []
        word = ""
    return words


TESTS: dict[str, Callable[[Record, Any], bool]] = {
    "inference_action_filter": lambda record, action: record.action == action,
    "data_hash_filter": lambda record, digest: record.data_hash == digest.lower(),
    "data_source_filter": lambda record, source: record.source == source,
    "time_window_filter": _in_window,
    "metadata_filter": lambda record, asked: all(
        _in_metadata(record, a) for a in asked
    ),
    "location_filter": _located,
    "deconstructed_inference_filter": _detected,
    "and": lambda record, parts: all(passes(record, part) for part in parts),
    "or": lambda record, parts: any(passes(record, part) for part in parts),
    "not": lambda record, part: not passes(record, part),
    "class_filter": _among_classes,
    "has_key": _has_key,
    "no_detections": lambda record, yes: (record.detections == []) == yes,
    "has_input": lambda record, yes: record.has_input == yes,
    "has_warnings": lambda record, yes: record.has_warnings == yes,
    "is_not_understood": lambda record, yes: record.is_not_understood == yes,
    "is_protected": lambda record, yes: record.is_protected == yes,
    "ground_truth": _truth,
    "ground_truth_label": lambda record, label: record.truth == label,
    "in_dataset": lambda record, name: record.dataset == name,
    "in_trace": lambda record, trace: record.trace == trace,
    "in_split": lambda record, name: False,  # the datasets here have none
    "in_any_dataset": lambda record, yes: (record.dataset is not None) == yes,
    "status": _status,
    "model_version": _word("model_version"),
    "environment": _word("environment"),
    "text": _says("prompt", "answer"),
    "prompt": _says("prompt"),
    "answer": _says("answer"),
    "conversation_id": lambda record, value: any(
        _word(key)(record, value)
        for key in ("conversation_id", "session_id", "session")
    ),
}


# Statistics

BIN = re.compile(r"\[(\S+), (\S+)([)\]])")


def observations(records: Iterable[Record], key: str, type_: str) -> list[Any]:
    types = ("int", "float") if type_ == "number" else (type_,)
    values = [observed(record, key, each) for record in records for each in types]
    return [value for value in values if value is not ABSENT]


def check_statistics(values: Sequence[Any], asked: dict[str, Any], told: Any) -> None:
    """Assert that what was told is what the contract says of these observations."""
    assert told["count"] == len(values)
    if asked["type"] == "string":
        assert told["distribution"] == Counter(values)
        return
    if not values:
        assert (told["min"], told["max"], told["distribution"]) == (None, None, {})
        return
    assert (told["min"], told["max"]) == (float(min(values)), float(max(values)))
    low = asked.get("distribution_minimum_value")
    high = asked.get("distribution_maximum_value")
    kept = [
        v for v in values if (low is None or v >= low) and (high is None or v <= high)
    ]
    edges = _edges(told["distribution"])
    if not edges:
        assert not kept
        return
    _check_edges(edges, asked, values)
    counts = [0] * (len(edges) - 1)
    for value in kept:
        counts[min(bisect_right(edges, value), len(counts)) - 1] += 1
    assert list(told["distribution"].values()) == counts


def _edges(distribution: dict[str, int]) -> list[float]:
    """The edges that the names of the bins say, which must meet one another."""
    edges: list[float] = []
    for number, name in enumerate(distribution, start=1):
        low, high, end = BIN.fullmatch(name).groups()
        assert end == ("]" if number == len(distribution) else ")")
        assert (repr(float(low)), repr(float(high))) == (low, high)
        assert not edges or edges[-1] == float(low)
        edges = [*edges, float(high)] if edges else [float(low), float(high)]
    assert len(edges) == 2 or all(a < b for a, b in pairwise(edges))
    return edges


def _check_edges(
    edges: list[float], asked: dict[str, Any], values: Sequence[Any]
) -> None:
    low = asked.get("distribution_minimum_value", min(values))
    high = asked.get("distribution_maximum_value", max(values))
    ulps = 1e-15 * max(abs(low), abs(high))
    assert abs(edges[0] - low) <= ulps
    assert edges[0] <= low
    assert edges[-1] >= high
    span = Fraction(high) - Fraction(low)
    if width := asked.get("distribution_bin_width"):
        expected = Fraction(width)
        assert edges[-1] - high <= width * (1 + 1e-9) + 2 * ulps
    else:
        expected = span / asked.get("distribution_bin_count", 10)
        assert abs(edges[-1] - high) <= ulps
    if low < high and expected > 100 * Fraction(ulps or 5e-324):
        for a, b in pairwise(edges):
            if b != edges[-1]:
                assert (
                    abs(Fraction(b) - Fraction(a) - expected)
                    <= 8 * Fraction(ulps) + expected / 10**9
                )
