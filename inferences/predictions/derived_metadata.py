"""Metadata derived from answers: numbers and texts that no label holds.

The values lie in slots like other metadata, so filters, sorting and statistics can use
them, and pages show them among the metadata. A key that the caller gave keeps the caller's
value.

    prediction               the value of a regression (float), or the generated text;
                             of several choices the first (string)
    prediction.<name>        each of several outputs (float or string)
    prediction.min, .max, .mean, .last     of a forecast (float)
    finish_reason, completion_tokens       of generated text (string, int)
    model_version            from the model server's answer or the call's URL (string)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from django.conf import settings

from inferences.models import MetadataType
from inferences.models.metadata_values import UNSTORABLE, MetadataValue
from inferences.predictions.parsers.values import (
    Deconstructed,
    Outputs,
    Quantity,
    Series,
    Text,
)

PREDICTION = "prediction"
MODEL_VERSION, VERSION_CHARS = "model_version", 255
OUTPUTS_MAX = 20  # each takes one of the few slots of its model


def derived_metadata(
    found: Deconstructed | None,
    given: Iterable[MetadataValue],
    model_version: str = "",
) -> tuple[MetadataValue, ...]:
    """Return the values to store beside the given ones; none where the answer has no such part.

    ``model_version`` is the version named by the model server's answer or by the requested
    URL.
    """
    facts = list(_facts(found)) if found is not None and found.content else []
    if model_version and not UNSTORABLE.search(model_version):
        version = model_version[:VERSION_CHARS]
        facts.append((MODEL_VERSION, MetadataType.STRING, version))
    if not facts:
        return ()
    taken = {value.key for value in given}
    room = settings.ISTORE_METADATA_MAX_ITEMS - len(taken)
    made = [
        MetadataValue(key, type_, text)
        for key, type_, text in facts
        if key not in taken and len(key) <= settings.ISTORE_METADATA_KEY_MAX_CHARS
    ]
    return tuple(made[: max(room, 0)])


def _facts(found: Deconstructed) -> Iterator[tuple[str, MetadataType, str]]:
    """Yield key, type and text of each value that the answer holds."""
    match found.content:
        case Quantity(value):
            yield _number(PREDICTION, value)
        case Outputs(values):
            for name, output in list(values.items())[:OUTPUTS_MAX]:
                key = f"{PREDICTION}.{name}"
                if isinstance(output, str):
                    yield key, MetadataType.STRING, output
                else:
                    yield _number(key, output)
        case Series(values):
            yield _number(f"{PREDICTION}.min", min(values))
            yield _number(f"{PREDICTION}.max", max(values))
            mean = math.fsum(value / len(values) for value in values)
            yield _number(f"{PREDICTION}.mean", mean)
            yield _number(f"{PREDICTION}.last", values[-1])
        case Text(_, reason, tokens) as text:
            yield PREDICTION, MetadataType.STRING, _beginning(text.answer.text)
            if reason:
                yield "finish_reason", MetadataType.STRING, reason
            if tokens is not None:
                yield "completion_tokens", MetadataType.INT, str(tokens)


def _beginning(text: str) -> str:
    """Return as much of a text as a metadata value may hold, cut between characters."""
    return text.encode()[: settings.ISTORE_METADATA_VALUE_MAX_BYTES].decode(
        errors="ignore"
    )


def _number(key: str, value: float) -> tuple[str, MetadataType, str]:
    return key, MetadataType.FLOAT, repr(float(value))
