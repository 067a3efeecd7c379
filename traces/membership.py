"""Find which inferences of a model are in a trace, for filters."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet

from inferences.models import RegisteredModel
from traces.models import Span


def rows_in(model: RegisteredModel, trace_id: bytes) -> QuerySet[Any, Any]:
    """Return the row ids of a model's inferences in a trace."""
    spans = Span.objects.filter(registered_model=model, trace_id=trace_id)
    return spans.values("row_id")
