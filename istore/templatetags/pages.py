"""Template tags and filters of every page: icons, times, sizes, durations."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

from django import template
from django.contrib.staticfiles.storage import staticfiles_storage
from django.utils.html import format_html
from django.utils.safestring import SafeString

from istore.json_text import format_moment
from istore.web.pages import THEME_COOKIE, THEMES
from istore.web.rail import Rail, draw_rail

register = template.Library()

MINUTE, HOUR, DAY = 60, 3600, 86_400
# How much of "2026-01-31 12:00:00.123456" is written.
LENGTHS = {"day": 10, "minute": 16, "second": 19, "exact": 26}
# The class of a badge by the state it shows: of tasks, sessions of services, tokens.
BADGES = {
    "complete": "good",
    "failed": "bad",
    "stopped": "warn",
    "Ready": "good",
    "Created": "warn",
    "Admitted": "warn",
    "Error": "bad",
    "valid": "good",
    "expired": "warn",
    "revoked": "bad",
}
SIZES = ("bytes", "KB", "MB", "GB", "TB")


@register.simple_tag
def icon(name: str, label: str = "") -> SafeString:
    """Return an icon of the sprite: hidden from screen readers, or named by a label."""
    # Not ``static``, which looks through all apps each time.
    return _icon(f"{staticfiles_storage.url('icons.svg')}#{name}", label)


@lru_cache(1024)  # a page has seventy icons, of a few kinds
def _icon(address: str, label: str) -> SafeString:
    if label:
        return format_html(
            '<svg class="icon" role="img" aria-label="{}"><use href="{}"/></svg>',
            label,
            address,
        )
    return format_html(
        '<svg class="icon" aria-hidden="true"><use href="{}"/></svg>', address
    )


@register.simple_tag(takes_context=True)
def theme(context: template.Context) -> str:
    """Return the theme that the person chose, or "" for the system's."""
    request = context.get("request")
    chosen = request.COOKIES.get(THEME_COOKIE, "") if request else ""
    return chosen if chosen in THEMES else ""


@register.simple_tag(takes_context=True)
def rail(context: template.Context) -> Rail:
    """Return the rail of the page, for a person who is logged in."""
    return draw_rail(context["request"], context)


@register.simple_tag
def moment(when: datetime | None, how: str = "ago") -> SafeString:
    """Return a ``time`` element: the age, or the time to the day, minute, second or exactly."""
    if when is None:
        return format_html('<span class="faint">{}</span>', "never")
    exact = format_moment(when)
    whole = f"{exact[:10]} {exact[11:-1]}"
    written = ago(when) if how == "ago" else whole[: LENGTHS[how]]
    # Digits and words of our own, so nothing is escaped: a table has a hundred times.
    return SafeString(
        f'<time datetime="{exact}" title="{whole} UTC" data-how="{how}">{written}</time>'
    )


def ago(when: datetime) -> str:
    """Return the age of a moment in words, or its date after 60 days."""
    passed = (datetime.now(UTC) - when).total_seconds()
    if passed < 0:
        return f"{when.astimezone(UTC):%Y-%m-%d %H:%M}"
    if passed < MINUTE:
        return "just now"
    for seconds, most, name in (
        (MINUTE, HOUR, "min"),
        (HOUR, 2 * DAY, "h"),
        (DAY, 60 * DAY, "days"),
    ):
        if passed < most:
            return f"{passed / seconds:.0f} {name} ago"
    return f"{when.astimezone(UTC):%Y-%m-%d}"


@register.filter
def badge(state: str) -> str:
    """Return the CSS class of a state's badge; "" for a neutral state."""
    return BADGES.get(state, "")


@register.filter
def size(count: int | None) -> str:
    """Return a size such as ``214 KB``, in decimal units."""
    if count is None:
        return "—"
    value = float(count)
    for unit in SIZES:
        if value < 1000 or unit == SIZES[-1]:
            break
        value /= 1000
    digits = 0 if unit == "bytes" or value >= 100 else 1
    return f"{value:.{digits}f} {unit}"


@register.filter
def duration(length: timedelta | None) -> str:
    """Return a duration such as ``840 µs``, ``12.4 ms``, ``3.2 s`` or ``5 min``."""
    if length is None:
        return "—"
    seconds = length.total_seconds()
    for least, unit, per in (
        (2 * HOUR, "h", 1 / HOUR),
        (2 * MINUTE, "min", 1 / MINUTE),
        (1, "s", 1),
        (0.001, "ms", 1e3),
    ):
        if abs(seconds) >= least:
            value = seconds * per
            return f"{value:.0f} {unit}" if abs(value) >= 100 else f"{value:.3g} {unit}"
    return f"{seconds * 1e6:.0f} µs"


@register.filter
def percent(share: float) -> str:
    """Return a share from 0 to 1 in percent; what is not quite none or all does not say so."""
    value = 100 * share
    if 0 < value < 0.1:
        return "< 0.1 %"
    if 99.9 < value < 100:
        return "> 99.9 %"
    return f"{value:.3g} %"


@register.filter
def grouped(number: int | None) -> str:
    """Return a number with its digits in groups of three, such as ``12,480``."""
    return "—" if number is None else f"{number:,}"
