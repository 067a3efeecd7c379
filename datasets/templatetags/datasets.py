"""Tags of the dataset pages."""

from __future__ import annotations

from django import template
from django.utils.safestring import SafeString

from datasets.web.cards import EntryCard, EntryMarkup

register = template.Library()


@register.simple_tag
def duplicate_picture(markup: EntryMarkup, card: EntryCard) -> SafeString:
    """The input of an entry with what was found in it, without text."""
    return markup.stage(card)
