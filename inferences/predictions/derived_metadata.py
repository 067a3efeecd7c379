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

from collections.abc import Iterable

from django.conf import settings

from inferences.models import MetadataType
from inferences.models.metadata_values import UNSTORABLE, MetadataValue
from inferences.predictions.model_types import type_of_content
from inferences.predictions.parsers.values import Deconstructed

MODEL_VERSION, VERSION_CHARS = "model_version", 255


def derived_metadata(
    found: Deconstructed | None,
    given: Iterable[MetadataValue],
    model_version: str = "",
) -> tuple[MetadataValue, ...]:
    """Return the values to store beside the given ones; none where the answer has no such part.

    ``model_version`` is the version named by the model server's answer or by the requested
    URL.
    """
    content = found.content if found is not None else None
    facts = list(type_of_content(content).facts(content))
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
