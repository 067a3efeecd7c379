"""Tags of traces: the span that an inference is, and amounts of money."""

from __future__ import annotations

from django import template

from inferences.models import Inference
from inferences.store.token_prices import write_amount
from traces.costs import Cost
from traces.models import Span

register = template.Library()


@register.simple_tag
def span_of(inference: Inference) -> Span | None:
    """Return the span that an inference is; None if it is none. Served by span_of_inference."""
    rows = Span.objects.filter(
        registered_model=inference.registered_model_id, row_id=inference.id
    )
    return rows.first()


@register.filter
def money(cost: Cost) -> str:
    """Return a cost such as ``0.0042 USD``."""
    return f"{write_amount(cost.amount)} {cost.currency}".strip()
