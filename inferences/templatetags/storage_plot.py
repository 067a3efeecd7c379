"""The plot of storage by model, for templates of other apps."""

from __future__ import annotations

from typing import Any

from django import template

from inferences.presentation import storage

register = template.Library()


@register.inclusion_tag("operations/_storage.html")
def storage_by_model() -> dict[str, Any]:
    return {"panel": storage.by_model()}
