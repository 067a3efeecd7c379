"""A ranking: ``[{item, score}]``, ``["item", …]``, or items beside scores.

Rerankers (Cohere, Jina, vLLM, Text Embeddings Inference) answer the ``index`` of each
document with its relevance, under ``results`` or ``data``, and may repeat the document.
"""

from __future__ import annotations

from typing import Any

from inferences.predictions.parsers.context import Context, number
from inferences.predictions.parsers.values import Deconstructed, Detection, Kind
from protocols.json_text import without_batch

ITEM = ("item", "id", "label", "document_id", "index", "document")
RESULTS = ("results", "data")
SCORE = ("score", "relevance", "relevance_score")
# Each item becomes a label of the model; items further down are rarely of interest.
ITEMS_MAX = 100


def read(value: Any, context: Context) -> Deconstructed | None:
    """Return the items of a ranking, the best first, or None for another form."""
    if isinstance(value, dict) and isinstance(
        rows := next((value[name] for name in RESULTS if name in value), None), list
    ):
        value = rows
    elif isinstance(value, dict):
        items = value.get("items", value.get("ranking"))
        scores = value.get("scores")
        value = items
        if isinstance(items, list) and isinstance(scores, list):
            pairs = zip(without_batch(items), without_batch(scores), strict=False)
            value = [{"item": item, "score": score} for item, score in pairs]
    value = without_batch(value)
    if not isinstance(value, list):
        return None
    rows = [_row(each, context) for each in value]
    if None in rows:
        return None
    if rows and all(row.score is not None for row in rows):
        rows.sort(key=lambda row: -row.score)  # stable: equal scores keep their order
    warnings = []
    if len(rows) > ITEMS_MAX:
        warnings.append(f"Of {len(rows)} items the first {ITEMS_MAX} were kept.")
    return Deconstructed(
        Kind.RANKING, rows[:ITEMS_MAX], understood=True, warnings=warnings
    )


def _row(value: Any, context: Context) -> Detection | None:
    if not isinstance(value, dict):
        label = context.label(value)
        return Detection(label) if label else None
    name = next((value[key] for key in ITEM if value.get(key) is not None), None)
    score = next((value[key] for key in SCORE if value.get(key) is not None), None)
    label = context.label(name)
    return Detection(label, number(score)) if label else None
