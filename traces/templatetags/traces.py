"""The tag with which the page of an inference finds its trace."""

from __future__ import annotations

from django import template

from inferences.models import Inference
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
    """Return a cost such as ``0.0042 USD``: calls of models cost fractions of a cent."""
    amount = float(cost.amount)
    text = f"{amount:.2f}"
    if amount and abs(amount) < 0.01:
        text = f"{amount:.2g}" if abs(amount) >= 1e-4 else f"{amount:.1e}"
    return f"{text} {cost.currency}".strip()
