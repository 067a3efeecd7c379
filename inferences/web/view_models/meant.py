"""The first of the inferences that an act is about, so that a person sees what is meant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.core.exceptions import ValidationError
from django.db import OperationalError

from inferences.models import Inference, RegisteredModel
from inferences.search.pagination import BadQuestion
from inferences.search.query import InferenceQuery
from inferences.store.lookup import row_ids_of
from inferences.store.reading import join_payloads
from inferences.web.view_models.inputs import Look, looks
from inferences.web.view_models.questions import Question
from istore.db.statement_timeout import statement_timeout
from istore.errors import StoreError

SHOWN = 12
SECONDS = 1.0  # an act that is asked about does not wait longer for its pictures
LEFT_OUT_MOST = 200  # excluded ids that may stand before the first that are meant


@dataclass(frozen=True, slots=True)
class Meant:
    """An inference of a selection, and what its input looks like."""

    inference: Inference
    look: Look


def first_meant(
    model: RegisteredModel,
    ids: Sequence[str],
    question: Question | None,
    excluded: Sequence[str],
) -> list[Meant]:
    """Return the first inferences of a selection in the order of its list.

    None are returned where they cannot be found in time: the count says what is meant, too.
    """
    try:
        with statement_timeout(SECONDS):
            found = _find(model, ids, question, excluded)
    except (ValidationError, BadQuestion, StoreError, OperationalError):
        return []
    shown = looks(found)
    return [Meant(each, shown[each.id]) for each in found]


def _find(
    model: RegisteredModel,
    ids: Sequence[str],
    question: Question | None,
    excluded: Sequence[str],
) -> list[Inference]:
    if ids or question is None:
        row_ids = list(row_ids_of(model, ids).values())
        rows = model.inferences.live_among(row_ids).newest_first()[:SHOWN]
        return join_payloads(model, list(rows))
    limit = SHOWN + min(len(excluded), LEFT_OUT_MOST)
    query = InferenceQuery(
        question.filters, question.pagination(limit), embedding=question.embedding
    )
    without = set(excluded)
    page = query.page(model).inferences
    return [each for each in page if each.inference_id not in without][:SHOWN]
