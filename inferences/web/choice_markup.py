"""The HTML of values to choose from: a filter panel has some eighty of them."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from django.utils.safestring import SafeString

from inferences.web.view_models.facets import Choice
from istore.web.escaping import escape


def write_choices(choices: Iterable[Choice], name: str, kind: str) -> SafeString:
    """Return a label for each choice with its input, a checkbox or a radio, for the field."""
    field = escape(name)
    return SafeString("".join(_write(each, field, kind) for each in choices))


def _write(choice: Choice, field: str, kind: str) -> str:
    value, title = choice.value or choice.name, escape(choice.name)
    swatch = "" if choice.hue is None else '<span class="swatch"></span>'
    counted = ""
    if choice.count is not None:
        counted = (
            f'<span class="number faint">{choice.count:,}</span>'
            '<svg class="share" aria-hidden="true">'
            f'<rect width="{choice.share}%" height="100%"/></svg>'
        )
    return (
        f'<label class="choice {choice.classes}"><input type="{kind}" name="{field}" '
        f'id="{field}-{slug(value)}" value="{escape(value)}"'
        f"{' checked' if choice.is_on else ''}> {swatch}"
        f'<span class="name" title="{title}">{title}</span>{counted}</label>\n'
    )


def slug(text: str) -> str:
    """Return a short name for an element, the same for the same text."""
    return f"{zlib.crc32(str(text).encode('utf-8', 'replace')):x}"
