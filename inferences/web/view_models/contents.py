"""Answers other than lists of labels: text, entities, numbers, outputs, forecasts.

It also has what may accompany any answer: feature contributions (SHAP), further
embeddings, and inputs by name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from django.template.defaultfilters import floatformat

from inferences.models import Inference, RegisteredModel
from inferences.predictions.model_types.base import short
from inferences.predictions.parsers.values import (
    Entities,
    Entity,
    Outputs,
    Quantity,
    Series,
)
from inferences.web.view_models.colours import colours_of
from inferences.web.view_models.signed_bars import Bars, bars
from istore import blobs

OUTPUTS_SHOWN, STEPS_SHOWN = 200, 500
FEATURES_SHOWN, NAMED_SHOWN = 30, 100
TEXT_READ = 64 * 1024
LONG_CHARS = 120


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of the text of entities; without a label it is between entities."""

    text: str
    label: str = ""
    hue: int = 0
    score: float | None = None

    @property
    def title(self) -> str:
        """The label, and its score if the answer has one."""
        scored = self.score is not None
        return f"{self.label} {floatformat(self.score, 3)}" if scored else self.label


@dataclass(frozen=True, slots=True)
class Interval:
    """A number within its interval; places are in percent of a line around both."""

    low: float
    width: float
    at: float


class Contents:
    """The content of an answer for the page; ``template`` draws it as ``contents``."""

    template: ClassVar[str]


@dataclass(frozen=True, slots=True)
class Pieces(Contents):
    """A text with its entities."""

    template = "inferences/contents/_pieces.html"

    pieces: list[Piece]


@dataclass(frozen=True, slots=True)
class Number(Contents):
    """A number, and where it lies in its interval."""

    template = "inferences/contents/_number.html"

    quantity: Quantity
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class NamedOutputs(Contents):
    """Outputs with their names."""

    template = "inferences/contents/_outputs.html"

    outputs: list[tuple[str, float | str]]


@dataclass(frozen=True, slots=True)
class Plot(Contents):
    """A chart of a forecast in a box of 100 by 100: history, forecast and interval."""

    template = "inferences/contents/_plot.html"

    before: str
    line: str
    band: str
    low: float
    high: float
    begins: float  # where the forecast begins, in percent of the width
    first: str
    last: str
    rows: list[tuple[str, float, float | None, float | None]]
    left_out: int


def contents_of(
    model: RegisteredModel,
    inference: Inference,
    content: Entities | Quantity | Outputs | Series,
) -> Contents:
    """Return the content of an answer for the page. Text is shown as a conversation."""
    match content:
        case Entities(entities, text):
            whole = text or _input_text(inference)
            return Pieces(pieces(whole, entities, colours_of(model)))
        case Quantity():
            return Number(content, _interval(content))
        case Outputs(values):
            return NamedOutputs(list(values.items())[:OUTPUTS_SHOWN])
        case Series():
            return plot(content)


def pieces(
    text: str, entities: Sequence[Entity], colour_of: Callable[[str], int]
) -> list[Piece]:
    """Return the text cut at its entities; of overlapping ones the longer is shown."""
    longest = sorted(entities, key=lambda each: (each.start, -each.end))
    cut: list[Piece] = []
    place = 0
    for each in longest:
        if each.start < place or each.start >= len(text):
            continue
        if each.start > place:
            cut.append(Piece(text[place : each.start]))
        colour = colour_of(each.label)
        cut.append(Piece(text[each.start : each.end], each.label, colour, each.score))
        place = min(each.end, len(text))
    if place < len(text):
        cut.append(Piece(text[place:]))
    return cut


def plot(series: Series) -> Plot:
    """Return the chart of a forecast."""
    values, before = series.values[:STEPS_SHOWN], series.before[-STEPS_SHOWN:]
    lower, upper = series.lower[:STEPS_SHOWN], series.upper[:STEPS_SHOWN]
    everything = [*values, *before, *lower, *upper]
    low, high = min(everything), max(everything)
    span = (high - low) or 1.0
    steps = max(len(before) + len(values) - 1, 1)

    def points(column: Sequence[float], start: int) -> list[str]:
        return [
            f"{100 * (start + n) / steps:.2f} {100 - 100 * (each - low) / span:.2f}"
            for n, each in enumerate(column)
        ]

    begins = len(before)
    line = points([*before[-1:], *values], max(begins - 1, 0))
    edges = points(upper, begins) + points(lower, begins)[::-1]
    band = edges if lower and upper else []
    times = series.times[:STEPS_SHOWN]
    names = times or [f"step {n}" for n in range(1, len(values) + 1)]
    blank: list[float | None] = [None] * len(values)
    rows = zip(names, values, lower or blank, upper or blank, strict=True)
    return Plot(
        _path(points(before, 0)),
        _path(line),
        f"{_path(band)}Z" if band else "",
        low,
        high,
        round(100 * begins / steps, 2) if before else 0.0,
        names[0],
        names[-1],
        list(rows),
        len(series.values) - len(values),
    )


def _path(points: Sequence[str]) -> str:
    return f"M{' L'.join(points)}" if points else ""


def _interval(said: Quantity) -> Interval | None:
    if said.lower is None or said.upper is None or said.lower > said.upper:
        return None
    low, high = min(said.lower, said.value), max(said.upper, said.value)
    span = (high - low) or 1.0
    return Interval(
        round(100 * (said.lower - low) / span, 2),
        round(100 * (said.upper - said.lower) / span, 2),
        round(100 * (said.value - low) / span, 2),
    )


def _input_text(inference: Inference) -> str:
    """Return the text of the input, as much as a page shows."""
    inputs = _parts(inference).get("inputs")
    text = inputs.get("text") if isinstance(inputs, dict) else None
    if isinstance(text, str):
        return text[:TEXT_READ]
    key = inference.payload.data_storage_key
    if not key:
        return ""
    try:
        with blobs.open_blob(key) as file:
            content = file.read(TEXT_READ)
    except (FileNotFoundError, blobs.BlobDamaged):
        return ""
    text = content.decode("utf-8", "replace")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    data = value.get("data") if isinstance(value, dict) else value
    while isinstance(data, list) and len(data) == 1:
        data = data[0]
    return data if isinstance(data, str) else text


# -- beside the answer


@dataclass(frozen=True, slots=True)
class Contribution:
    """The contribution of a feature: a bar to either side of the middle, in percent."""

    feature: str
    value: float
    x: float
    width: float

    @property
    def is_negative(self) -> bool:
        return self.value < 0


@dataclass(frozen=True, slots=True)
class Beside:
    """What a collection has beside the answer."""

    contributions: list[Contribution] = field(default_factory=list)
    features_left_out: int = 0
    embeddings: list[tuple[str, Bars, int]] = field(default_factory=list)
    inputs: list[tuple[str, str, bool]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.contributions or self.embeddings or self.inputs)


def beside(inference: Inference) -> Beside:
    """Return what a collection has beside the answer; nothing for other forms of answers."""
    parts = _parts(inference)
    shap, vectors, inputs = (
        parts.get(name) for name in ("shap_values", "embeddings", "inputs")
    )
    counted = _contributions(shap) if isinstance(shap, dict) else []
    return Beside(
        counted[:FEATURES_SHOWN],
        max(len(counted) - FEATURES_SHOWN, 0),
        [
            (name, bars(vector), len(vector))
            for name, vector in (vectors.items() if isinstance(vectors, dict) else ())
            if _is_vector(vector)
        ],
        [
            (name, shown := short(value), len(shown) > LONG_CHARS)
            for name, value in list(inputs.items() if isinstance(inputs, dict) else ())
        ][:NAMED_SHOWN],
    )


def _contributions(values: dict[str, Any]) -> list[Contribution]:
    usable = {n: v for n, v in values.items() if type(v) in (int, float)}
    most = max(map(abs, usable.values()), default=0.0) or 1.0
    return [
        Contribution(
            name,
            value,
            round(50 - 50 * abs(value) / most if value < 0 else 50, 2),
            round(50 * abs(value) / most, 2),
        )
        for name, value in sorted(usable.items(), key=lambda pair: -abs(pair[1]))
    ]


def _is_vector(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(type(each) in (int, float) for each in value)
    )


def _parts(inference: Inference) -> dict[str, Any]:
    """Return the collection of an inference stored by a create; {} for other answers."""
    text = inference.payload.data
    if not text.startswith("{"):
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
