"""What is found of answers that no label says: numbers and texts, under keys of their own.

They lie in slots as metadata does, so filters, sorts of values and statistics know them,
and they are shown among the metadata. A key that the caller gave stays the caller's.

    prediction               of a regression its value (float), of generated text the
                             text, of several choices the first (string)
    prediction.<name>        of several outputs each, a float or a string
    prediction.min, .max, .mean, .last     of a forecast (float)
    finish_reason, completion_tokens       of generated text (string, int)
    model_version            that the model server answered, or the call asked for (string)
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
OUTPUTS_MAX = 20  # each takes a slot of its model, of which there are few


def derived_metadata(
    found: Deconstructed | None,
    given: Iterable[MetadataValue],
    model_version: str = "",
) -> tuple[MetadataValue, ...]:
    """The values beside those that were given; none where the answer has no such part.

    ``model_version`` is the one that the model server, or the address asked, has named.
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
    match found.content:
        case Quantity(value):
            yield _number(PREDICTION, value)
        case Outputs(values):
            for name, value in list(values.items())[:OUTPUTS_MAX]:
                key = f"{PREDICTION}.{name}"
                if isinstance(value, str):
                    yield key, MetadataType.STRING, value
                else:
                    yield _number(key, value)
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
    """As much of a text as a metadata value may hold, cut between characters."""
    return text.encode()[: settings.ISTORE_METADATA_VALUE_MAX_BYTES].decode(
        errors="ignore"
    )


def _number(key: str, value: float) -> tuple[str, MetadataType, str]:
    return key, MetadataType.FLOAT, repr(float(value))
