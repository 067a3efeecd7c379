"""Template filters that write ages and policies in words."""

from __future__ import annotations

from django import template

from retention.models import DeleteAction, Terms

register = template.Library()

DAY = 24
INTERVALS = {1: "every hour", DAY: "every day", 7 * DAY: "every week"}


@register.filter
def hours(count: int) -> str:
    """Return an age such as ``36 hours`` or ``3 days``; days if they are whole."""
    number, unit = (
        (count // DAY, "day") if count and not count % DAY else (count, "hour")
    )
    return f"{number:,} {unit}" if number == 1 else f"{number:,} {unit}s"


@register.filter
def interval(count: int) -> str:
    """Return an interval such as ``every day``, ``every 6 hours`` or ``only when asked``."""
    if not count:
        return "only when asked"
    return INTERVALS.get(count) or f"every {hours(count)}"


@register.filter
def in_words(terms: Terms) -> str:
    """Return what a policy does, in a sentence."""
    inputs = f"Inputs are deleted after {hours(terms.maximum_blob_age)}"
    if terms.keeps_records:
        return f"{inputs}; inferences are kept."
    way = "for good" if terms.delete_action == DeleteAction.HARD else "softly"
    age = hours(terms.maximum_record_age)
    return f"{inputs}, inferences {way} after {age}."
