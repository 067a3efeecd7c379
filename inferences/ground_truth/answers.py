"""Read the answers to compare with ground truth, one batch at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from django.db import connection

from inferences.ground_truth.agreement import Predicted
from inferences.models import (
    Inference,
    InferencePayload,
    LabelName,
    RegisteredModel,
)
from inferences.predictions.model_types import type_of
from inferences.predictions.parse import deconstructed
from inferences.store.answer_text import answer_text, text_is_missing

# Forms for which the labels and scores of the row are enough; others need the whole answer.
BY_LABEL = frozenset({"labels", "relevance"})

# Fenced lookups by the primary key (store/lookup.py). The whole answer is read only for the
# rows whose ground truth needs it.
READ = f"""
SELECT row.id, coalesce(row.classes, row.labels),
       coalesce(row.probabilities, row.scores),
       CASE WHEN row.id = ANY(%(whole)s) THEN cold.data ELSE '' END,
       CASE WHEN row.id = ANY(%(whole)s) THEN cold.answer_storage_key ELSE '' END,
       cold.notes::text
FROM unnest(%(ids)s::bigint[]) AS wanted (id)
CROSS JOIN LATERAL (  -- fenced as in lookup.py; the search indexes have live rows alone
    SELECT id, labels, scores, classes, probabilities, deleted FROM {Inference._meta.db_table}
    WHERE model_key = %(model)s AND id = wanted.id OFFSET 0
) AS row
CROSS JOIN LATERAL (
    SELECT data, answer_storage_key, notes FROM {InferencePayload._meta.db_table}
    WHERE model_key = %(model)s AND id = wanted.id OFFSET 0
) AS cold
WHERE NOT row.deleted
"""


def predictions(
    model: RegisteredModel, truths: dict[int, dict[str, Any]]
) -> dict[int, Predicted]:
    """Return the answer of each live row, parsed as far as its ground truth needs."""
    whole = [row_id for row_id, truth in truths.items() if not truth.keys() & BY_LABEL]
    with connection.cursor() as cursor:
        values: dict[str, Any] = {
            "model": model.pk,
            "ids": list(truths),
            "whole": whole,
        }
        cursor.execute(READ, values)
        rows = cursor.fetchall()
    names = label_names(number for _, labels, *_ in rows for number in labels or ())
    return {
        row_id: Predicted(
            pairs_of(labels, scores, names),
            deconstructed(model, answer_text(text, key, _object(notes))),
            type_of(model.task_type).finds_things,
        )
        for row_id, labels, scores, text, key, notes in rows
    }


def reason_of_no_verdict(
    model: RegisteredModel, row_id: int, truth: dict[str, Any]
) -> str:
    """Return why an answer cannot be compared with its ground truth."""
    payload = InferencePayload.objects.filter(registered_model=model, id=row_id).first()
    if payload is not None and not truth.keys() & BY_LABEL:
        said = payload.data, payload.answer_storage_key, payload.notes
        if why := text_is_missing(*said):
            return why
    predicted = predictions(model, {row_id: truth}).get(row_id)
    if predicted is None:
        return "There is no answer."
    form = next(name for name in truth if name != "score")
    is_known = predicted.pairs is not None or predicted.said.understood
    if not is_known:
        return "The answer was not understood."
    return f"The answer has no {form} in the unit and number of the actual."


def _object(notes: Any) -> Any:
    return orjson.loads(notes) if isinstance(notes, str) else notes


def label_names(numbers: Iterable[int]) -> dict[int, str]:
    """Return the names of label numbers, in one query."""
    wanted = set(numbers)
    rows = LabelName.objects.filter(pk__in=wanted) if wanted else ()
    return {row.pk: row.name for row in rows}


def pairs_of(
    labels: Sequence[int] | None,
    scores: Sequence[float | None] | None,
    names: dict[int, str],
) -> list[tuple[str, float | None]] | None:
    """Return the labels of a row with their scores, or None if it has no labels."""
    if labels is None:
        return None
    said = scores or [None] * len(labels)
    return [(names.get(n, ""), score) for n, score in zip(labels, said, strict=True)]
