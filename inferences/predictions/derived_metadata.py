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
    tokens_per_second        generated tokens by the time that they took (float)
    request_id               the model server's own id of the request (string)
    x_request_id             the id that the caller gave the request (string)
    trace_id                 of the trace that the caller's request was in (string)

What differs between two calls with the same request and answer has to be derived: given
metadata tells one content from another.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.conf import settings

from inferences.models import MetadataType
from inferences.models.metadata_values import UNSTORABLE, MetadataValue
from inferences.predictions.model_types import type_of_content
from inferences.predictions.parsers.values import Deconstructed

MODEL_VERSION, VERSION_CHARS = "model_version", 255
COMPLETION_TOKENS, TOKENS_PER_SECOND = "completion_tokens", "tokens_per_second"
REQUEST_ID = "request_id"
X_REQUEST_ID, TRACE_ID = "x_request_id", "trace_id"


def derived_metadata(
    found: Deconstructed | None,
    given: Iterable[MetadataValue],
    model_version: str = "",
    *,
    request_id: str = "",
    x_request_id: str = "",
    trace_id: str = "",
    seconds: float = 0.0,
) -> tuple[MetadataValue, ...]:
    """Return the values to store beside the given ones; none where the answer has no such part.

    ``model_version`` is the version named by the model server's answer or by the requested
    URL. ``x_request_id`` and ``trace_id`` are of a plain form. ``seconds`` are those in which a text was generated: from the first token of a stream to
    its end, or those of a whole answer; 0 if they are not known.
    """
    content = found.content if found is not None else None
    facts = list(type_of_content(content).facts(content))
    if model_version and not UNSTORABLE.search(model_version):
        version = model_version[:VERSION_CHARS]
        facts.append((MODEL_VERSION, MetadataType.STRING, version))
    if request_id and not UNSTORABLE.search(request_id):
        facts.append((REQUEST_ID, MetadataType.STRING, request_id))
    facts += [
        (key, MetadataType.STRING, text)
        for key, text in ((X_REQUEST_ID, x_request_id), (TRACE_ID, trace_id))
        if text
    ]
    given = list(given)
    if rate := _tokens_per_second([*_texts_of(given), *facts], seconds):
        facts.append((TOKENS_PER_SECOND, MetadataType.FLOAT, rate))
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


def _texts_of(given: Iterable[MetadataValue]) -> list[tuple[str, MetadataType, str]]:
    return [(value.key, value.type, value.text) for value in given]


def _tokens_per_second(
    facts: Iterable[tuple[str, MetadataType, str]], seconds: float
) -> str:
    """Return the generated tokens in a second, rounded; "" if their number is unknown."""
    counts = [
        int(text)
        for key, type_, text in facts
        if (key, type_) == (COMPLETION_TOKENS, MetadataType.INT)
    ]
    if not counts or counts[0] <= 0 or seconds <= 0:
        return ""
    return repr(round(counts[0] / seconds, 3))
