"""The HTML of cards (``table_markup`` has that of table rows).

It is written in Python, as that of pictures, inputs and answers is: a page has dozens of cards
with dozens of shapes, and Django's templates took most of the processor time of a list. Every
value that a caller or a model wrote goes through ``escape``; numbers and names of our own do not.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote

from django.urls import reverse
from django.utils.html import escape
from django.utils.safestring import SafeString

from inferences.models import RegisteredModel
from inferences.web.answer_markup import write_answer, write_score
from inferences.web.input_markup import write_input
from inferences.web.picture_markup import write_picture
from inferences.web.view_models.answers import Answer
from inferences.web.view_models.browsing import Card
from istore.templatetags.pages import icon, moment

IN_PATHS = "!$&'()*+,;=/~:@"  # characters that Django's routes leave as they are
NOTHING = '<span class="faint">—</span>'


class ListMarkup:
    """Writes the cards of one list; ``within`` is the query string of links to them."""

    def __init__(self, model: RegisteredModel, within: str = "") -> None:
        # The address of any inference, so that the routes are asked once for all cards.
        address = reverse(
            "inferences:detail", args=[model.project, model.model_id, "-"]
        )
        self._base = escape(address[:-1])
        self._within = escape(within)

    def cards(self, cards: Iterable[Card]) -> SafeString:
        """Return the items of a gallery."""
        return SafeString("".join(map(self._card, cards)))

    def strip(self, cards: Iterable[Card]) -> SafeString:
        """Return the items of a strip of similar inferences."""
        return SafeString("".join(map(self._similar, cards)))

    def address(self, card: Card) -> str:
        return self._base + escape(quote(card.inference.inference_id, safe=IN_PATHS))

    def link(self, card: Card) -> str:
        name = escape(card.inference.inference_id)
        return f'<a href="{self.address(card)}{self._within}" title="{name}">{name}</a>'

    def _card(self, card: Card) -> str:
        look, answer = card.look, card.answer
        name = escape(card.inference.inference_id)
        if look.picture:
            kind = f"ratio-{look.ratio}"
            shown = write_picture(
                look, answer, f"{self.address(card)}/preview", look.in_card, "320 640"
            )
        else:
            kind, shown = "plain", write_input(look)
        return (
            f'<li class="card panel {kind}" data-id="{name}">'
            f'<div class="stage">{shown}</div>'
            f"{_class_tag(answer) if look.picture else ''}{_marks(card)}"
            f'<div class="caption"><p class="id mono">{self.link(card)}</p>'
            f'<div class="said">{write_answer(answer)}</div>'
            f'<div class="foot">{_metadata(card)}{_facts(card)}</div></div>'
            f'<label class="pick">{write_pick(name)}</label></li>'
        )

    def _similar(self, card: Card) -> str:
        look, name = card.look, escape(card.inference.inference_id)
        source = f"{self.address(card)}/preview"
        shown = (
            write_picture(look, card.answer, source, look.in_line, "160", tags=False)
            if look.picture
            else write_input(look)
        )
        return (
            f'<li><a href="{self.address(card)}" title="{name}">'
            f'<span class="stage">{shown}</span>'
            f'<span class="number small">{card.distance or 0:.4f}</span>'
            f'<span class="visually-hidden">{name}</span></a></li>'
        )


def write_pick(name: str) -> str:
    return (
        f'<input type="checkbox" data-select value="{name}" name="inference_id" '
        f'form="selection" aria-label="Select {name}">'
    )


def write_warnings(card: Card) -> str:
    if not (warnings := card.warnings):
        return ""
    count, title = len(warnings), escape(" ".join(warnings))
    return (
        f'<span class="badge warn" title="{title}">{icon("warning")}'
        f"{count} warning{'' if count == 1 else 's'}</span>"
    )


def _marks(card: Card) -> str:
    """Return what is seen of a card without its text: protection, warnings, distance."""
    distance = card.distance
    marks = (
        "" if distance is None else f'<span class="number">{distance:.3f}</span>',
        icon("shield", "protected") if card.inference.is_protected else "",
        icon("warning", " ".join(card.warnings)) if card.warnings else "",
    )
    return f'<p class="marks">{"".join(marks)}</p>' if any(marks) else ""


def _class_tag(answer: Answer) -> str:
    """Return the best class over a picture on which nothing is drawn."""
    if not answer.is_classes:
        return ""
    best = answer.best[0]
    return (
        f'<p class="class-tag hue-{best.hue}">{escape(best.label)} '
        f"<span>{write_score(best.score, 2)}</span></p>"
    )


def _metadata(card: Card) -> str:
    if not card.metadata:
        return ""
    parts = []
    for key, value in card.metadata:
        name, text = escape(key), escape(value)
        parts.append(f'<span title="{name}: {text}">{name} <b>{text}</b></span>')
    return f'<p class="metadata">{" ".join(parts)}</p>'


def _facts(card: Card) -> str:
    inference = card.inference
    distance = card.distance
    facts = [f"<span>{moment(inference.created_at)}</span>"]
    if distance is not None:
        facts.append(f'<span class="number">distance {distance:.4f}</span>')
    if inference.source:
        facts.append(f"<span>{escape(inference.source.name)}</span>")
    if inference.is_protected:
        facts.append(icon("shield", "protected"))
    return f'<p class="spread">{"".join(facts)}{write_warnings(card)}</p>'
