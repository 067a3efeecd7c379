"""Read inferences with ground truth and their answers, in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from django.db import connection

from inferences.ground_truth.agreement import Predicted
from inferences.ground_truth.answers import (
    BY_LABEL,
    label_names,
    pairs_of,
)
from inferences.models import Inference, InferencePayload, RegisteredModel, row_ids
from inferences.models.ground_truth import GroundTruth
from inferences.predictions.model_types import type_of
from inferences.predictions.parse import deconstructed
from inferences.search.filters import Filter, TruthFilter, matching
from inferences.search.filters.tree import And
from inferences.store.answer_text import answer_text
from istore.db.statement_timeout import statement_timeout

AT_ONCE = 2000


@dataclass(frozen=True, slots=True)
class Row:
    """A row to measure: ``form`` is the form of ``truth``, ``value`` that of the metadata key."""

    form: str
    truth: Any
    predicted: Predicted
    moment: datetime
    value: str | None


def rows_with_truth(
    model: RegisteredModel, filters: Filter, key: str | None, most: int
) -> Iterator[Row]:
    """Yield the newest ``most`` rows that match; ``key`` is the metadata key to read with them.

    Pages go by id (keyset), so each page is one short statement with its own timeout.
    """
    chosen = matching(model, And((filters, TruthFilter("given")))).order_by("-id")
    below, left = None, most
    while left > 0:
        page = chosen if below is None else chosen.filter(id__lt=below)
        with statement_timeout():
            ids = list(page.values_list("id", flat=True)[: min(AT_ONCE, left)])
            read = _read(model, ids, key) if ids else []
        yield from read
        if len(ids) < AT_ONCE:
            return
        below, left = ids[-1], left - len(ids)


# Read by primary keys. Answers are not read where ground truth is labels: columns of the
# row hold the labels of the answer, and answers may be large or in the blob store.
READ = f"""
SELECT row.id, truth.truth::text, coalesce(row.classes, row.labels),
       coalesce(row.probabilities, row.scores),
       CASE WHEN truth.truth ?| %(by_label)s THEN '' ELSE cold.data END,
       CASE WHEN truth.truth ?| %(by_label)s THEN '' ELSE cold.answer_storage_key END,
       cold.notes::text,
       cold.metadata -> %(key)s ->> 1
FROM unnest(%(ids)s::bigint[]) AS wanted (id)
JOIN {Inference._meta.db_table} AS row
     ON row.model_key = %(model)s AND row.id = wanted.id AND NOT row.deleted
JOIN {GroundTruth._meta.db_table} AS truth
     ON truth.model_key = %(model)s AND truth.id = wanted.id
JOIN {InferencePayload._meta.db_table} AS cold
     ON cold.model_key = %(model)s AND cold.id = wanted.id
ORDER BY row.id DESC
"""


def _read(model: RegisteredModel, ids: Sequence[int], key: str | None) -> list[Row]:
    values: dict[str, Any] = {
        "model": model.pk,
        "ids": list(ids),
        "key": key or "",
        "by_label": sorted(BY_LABEL),
    }
    with connection.cursor() as cursor:
        cursor.execute(READ, values)
        rows = cursor.fetchall()
    names = label_names(number for row in rows for number in row[2] or ())
    found = type_of(model.task_type).finds_things
    made = []
    for row_id, written, labels, scores, text, blob, notes, value in rows:
        truth = orjson.loads(written)
        form = next(name for name in truth if name != "score")
        text = answer_text(text, blob, orjson.loads(notes or "{}"))
        said = deconstructed(model, text)
        predicted = Predicted(pairs_of(labels, scores, names), said, found)
        moment = row_ids.moment_of(row_id)
        made.append(Row(form, truth[form], predicted, moment, value))
    return made
