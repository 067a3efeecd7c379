"""The plot of storage by model, for templates of other apps."""

from __future__ import annotations

from typing import Any

from django import template
from django.template import Context

from inferences.maintenance import storage_by_model as storage
from istore.accounts.access import caller_of

register = template.Library()


@register.inclusion_tag("operations/_storage.html", takes_context=True)
def storage_by_model(context: Context) -> dict[str, Any]:
    return {"panel": storage.by_model(caller_of(context["request"]))}
