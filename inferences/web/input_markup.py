"""The HTML of inputs that are no pictures, and of small plots."""

from __future__ import annotations

from django.utils.safestring import SafeString

from inferences.web.view_models.inputs import Look
from inferences.web.view_models.signed_bars import Bars
from istore.templatetags.pages import icon
from istore.web.escaping import escape

NEGATIVE = ' class="negative"'


def write_input(look: Look) -> SafeString:
    """Return an input that is no picture, or the reason why it is not shown."""
    return SafeString(_write(look))


def _write(look: Look) -> str:
    if look.values:
        shown = "".join(
            f'<div><dt>{escape(name)}</dt><dd title="{escape(value)}">{escape(value)}</dd></div>'
            for name, value in look.values
        )
        return f'<dl class="values">{shown}</dl>'
    if look.plot:
        return write_bars(look.plot, "plot on-stage", "The numbers of the input")
    if look.text:
        return f'<p class="excerpt" dir="auto">{escape(look.text)}</p>'
    if look.missing == "expired":
        return f'<div class="absent">{icon("gone")}<p>Input expired</p></div>'
    if look.missing == "none":
        return f'<div class="absent">{icon("gone")}<p>No input stored</p></div>'
    return f'<div class="absent">{icon("picture")}<p>{escape(look.missing)}</p></div>'


def write_bars(plot: Bars, kind: str, label: str = "") -> SafeString:
    """Return a small plot; ``kind`` is its class."""
    drawn = "".join(
        f'<rect{NEGATIVE if bar.negative else ""} x="{bar.x}" y="{bar.y}" '
        f'width="0.8" height="{bar.height}"/>'
        for bar in plot.bars
    )
    return SafeString(
        f'<svg class="{kind}" viewBox="0 0 {plot.width} 100" preserveAspectRatio="none" '
        f'role="img" aria-label="{escape(label)}">{drawn}<line class="axis" x1="0" '
        f'x2="{plot.width}" y1="{plot.axis}" y2="{plot.axis}"/></svg>'
    )
