"""Answers that are numbers: of a regression, of several outputs, or of a forecast.

Numbers alone do not tell which task they belong to, so a model's type names its reader.
"""

from __future__ import annotations

from typing import Any

from inferences.predictions.parsers.context import UNSTORABLE, Context, number, numbers
from inferences.predictions.parsers.values import (
    Deconstructed,
    Kind,
    Outputs,
    Quantity,
    Series,
)
from protocols.json_text import without_batch

VALUE = ("value", "prediction", "predict", "predictions", "output", "y")
LOWER = ("lower", "low", "yhat_lower")
UPPER = ("upper", "high", "yhat_upper")
VALUES = ("values", "forecast", "yhat", "mean", "predict", "predictions", "output")
TIMES = ("times", "timestamps", "ds", "index")
BEFORE = ("history", "before", "context")
OUTPUTS_MAX = 1000
STEPS_MAX = 10_000
TEXT_CHARS = 10_000


def read_quantity(value: Any, context: Context) -> Deconstructed | None:
    """Return the number of a regression, or None for another form."""
    return _make(Kind.REGRESSION, _quantity(value))


def read_outputs(value: Any, context: Context) -> Deconstructed | None:
    """Return several outputs by name, or None for another form."""
    found = _outputs(value, context)
    if found is None:
        return None
    left_out = _left_out(value, found)
    return Deconstructed(
        Kind.MULTI_OUTPUT, understood=True, content=found, warnings=left_out
    )


def read_series(value: Any, context: Context) -> Deconstructed | None:
    """Return the values of a forecast, or None for another form."""
    return _make(Kind.TIME_SERIES, _series(value))


def _make(kind: Kind, content: Quantity | Series | None) -> Deconstructed | None:
    if content is None:
        return None
    return Deconstructed(kind, understood=True, content=content)


def _quantity(value: Any) -> Quantity | None:
    if not isinstance(value, dict):
        said = _single(value)
        return None if said is None else Quantity(said)
    said = _single(_first(value, VALUE))
    if said is None and len(value) == 1:  # a single output, whatever its name
        said = _single(next(iter(value.values())))
    if said is None:
        return None
    return Quantity(said, _single(_first(value, LOWER)), _single(_first(value, UPPER)))


def _outputs(value: Any, context: Context) -> Outputs | None:
    if isinstance(value, list):
        row = without_batch(value)
        if not row or not all(_output(each) is not None for each in row):
            return None
        names = context.class_labels
        named = names if len(names) == len(row) else [str(n) for n in range(len(row))]
        value = dict(zip(named, row, strict=True))
    if not isinstance(value, dict):
        return None
    values = {
        UNSTORABLE.sub("\ufffd", name)[:TEXT_CHARS]: said
        for name, each in list(value.items())[:OUTPUTS_MAX]
        if isinstance(name, str) and name and (said := _output(each)) is not None
    }
    return Outputs(values) if values else None


def _left_out(value: Any, said: Outputs) -> list[str]:
    """Return a warning about outputs that are neither a number nor a text."""
    if not isinstance(value, dict) or len(value) <= len(said.values):
        return []
    return [
        f"{len(value) - len(said.values)} of {len(value)} outputs were left out: they are "
        "no text and no finite number."
    ]


def _output(value: Any) -> float | str | None:
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, str):
        return UNSTORABLE.sub("\ufffd", value)[:TEXT_CHARS]
    return number(value)


def _series(value: Any) -> Series | None:
    if not isinstance(value, dict):
        said = _column(value)
        return Series(said) if said else None
    said = _column(_first(value, VALUES))
    if not said and len(value) == 1:
        said = _column(next(iter(value.values())))
    if not said:
        return None

    def beside(names: tuple[str, ...]) -> tuple[float, ...]:
        column = _column(_first(value, names)) or ()
        return column if len(column) == len(said) else ()

    times = _first(value, TIMES)
    fits = isinstance(times, list) and len(times) == len(said)
    texts = tuple(UNSTORABLE.sub("\ufffd", str(t))[:40] for t in times) if fits else ()
    before = _column(_first(value, BEFORE)) or ()
    return Series(said, texts, beside(LOWER), beside(UPPER), before)


def _column(value: Any) -> tuple[float, ...] | None:
    if isinstance(value, list):
        value = without_batch(value)
        if all(isinstance(each, list) and len(each) == 1 for each in value):
            value = [each[0] for each in value]
    found = numbers(value)
    return tuple(found[:STEPS_MAX]) if found else None


def _single(value: Any) -> float | None:
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    return number(value)


def _first(value: dict[Any, Any], names: tuple[str, ...]) -> Any:
    return next((value[name] for name in names if value.get(name) is not None), None)
