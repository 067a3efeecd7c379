"""Template filters that format figures."""

from __future__ import annotations

from django import template

register = template.Library()


@register.filter
def figure(value: float | None) -> str:
    """Return a figure with three decimals; large ones with six significant digits."""
    if value is None:
        return "—"
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:,.6g}"


@register.filter
def member(values: dict[str, float | None], name: str) -> float | None:
    """Return a member of a dict, or None."""
    return values.get(name)


@register.filter
def day(group: str) -> str:
    """Return the start of an interval, as short as possible."""
    return group.removesuffix("T00:00:00Z").replace("T", " ").removesuffix(":00Z")
