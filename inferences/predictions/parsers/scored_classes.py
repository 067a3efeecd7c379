"""Triton's classification extension: texts ``"score:index"`` or ``"score:index:label"``.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_classification.md
"""

from __future__ import annotations

import re
from typing import Any

from inferences.predictions.parsers.context import Context, number
from inferences.predictions.parsers.values import Deconstructed, Detection, Kind
from protocols.json_text import without_batch

FORM = re.compile(r"(?P<score>[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?):(?P<index>[0-9]{1,9})")


def read(value: Any, context: Context) -> Deconstructed | None:
    """Return the best classes of one input, or None for another form.

    The number before a label may be any score, not only a probability.
    """
    rows = without_batch(value)
    if not isinstance(rows, list) or not rows:
        return None
    if not all(isinstance(row, str) and _parts(row) for row in rows):
        return None
    return Deconstructed.of(
        Kind.IMAGE_CLASSIFICATION,
        rows,
        lambda row: _class(row, context),
        context.max_detections,
    )


def _parts(row: str) -> tuple[str, int, str] | None:
    found = FORM.match(row)
    rest = row[found.end() :] if found else ""
    if found is None or (rest and not rest.startswith(":")):
        return None
    return found["score"], int(found["index"]), rest[1:]


def _class(row: str, context: Context) -> Detection | None:
    score_text, index, name = _parts(row) or ("", 0, "")
    try:
        score = number(float(score_text))
    except ValueError:
        return None
    label = context.label(name or index)
    return None if label is None or score is None else Detection(label, score)
