"""The HTML of cards (``table_markup`` has that of table rows).

It is written in Python, as that of pictures, inputs and answers is: a page has dozens of cards
with dozens of shapes, and Django's templates took most of the processor time of a list. Every
value that a caller or a model wrote goes through ``escape``; numbers and names of our own do not.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Generic, Protocol, TypeVar
from urllib.parse import quote

from django.urls import reverse
from django.utils.safestring import SafeString

from inferences.models import RegisteredModel
from inferences.web.answer_markup import write_answer, write_score
from inferences.web.input_markup import write_input
from inferences.web.picture_markup import write_picture
from inferences.web.view_models.answers import Answer, Found
from inferences.web.view_models.browsing import Card
from inferences.web.view_models.inputs import Look
from inferences.web.view_models.passages import Passage
from istore.templatetags.pages import icon, moment
from istore.web.escaping import escape

IN_PATHS = "!$&'()*+,;=/~:@"  # characters that Django's routes leave as they are
NOTHING = '<span class="faint">—</span>'


class Item(Protocol):
    """What a card of a gallery shows: an inference, or its copy in a dataset."""

    @property
    def name(self) -> str: ...
    @property
    def look(self) -> Look: ...
    @property
    def answer(self) -> Answer: ...
    @property
    def truth(self) -> list[Found]: ...
    @property
    def metadata(self) -> list[tuple[str, str]]: ...
    @property
    def moment(self) -> datetime: ...
    @property
    def source(self) -> str: ...
    @property
    def is_protected(self) -> bool: ...
    @property
    def badges(self) -> list[str]: ...
    @property
    def warnings(self) -> list[str]: ...
    @property
    def distance(self) -> float | None: ...


T = TypeVar("T", bound=Item)


class GalleryMarkup(Generic[T]):
    """Writes the cards of a gallery; ``within`` is the query string of links to them.

    A subclass says where the page and the picture of an item are, and how it is selected.
    """

    def __init__(self, within: str = "") -> None:
        self._within = escape(within)

    def cards(self, cards: Iterable[T]) -> SafeString:
        """Return the items of a gallery."""
        return SafeString("".join(map(self._card, cards)))

    def address(self, card: T) -> str:
        """Return the escaped address of the item's page."""
        raise NotImplementedError

    def _picture(self, card: T) -> str:
        """Return the escaped address of the preview of its input."""
        raise NotImplementedError

    def _field(self, card: T) -> tuple[str, str]:
        """Return the name and the escaped value that select it in a form."""
        raise NotImplementedError

    def _pick(self, card: T) -> str:
        name, value = self._field(card)
        return (
            f'<input type="checkbox" data-select value="{value}" name="{name}" '
            f'form="selection" aria-label="Select {escape(card.name)}">'
        )

    def link(self, card: T) -> str:
        name = escape(card.name)
        return f'<a href="{self.address(card)}{self._within}" title="{name}">{name}</a>'

    def _beside(self, card: T) -> str:
        """Return what stands below the answer."""
        return ""

    def stage(self, card: T) -> SafeString:
        """Return the input of an item, with what was found in a picture."""
        look = card.look
        shown = (
            write_picture(
                look,
                card.answer,
                self._picture(card),
                look.in_card,
                "320 640",
                truth=card.truth,
            )
            if look.picture
            else write_input(look)
        )
        return SafeString(f'<div class="stage">{shown}</div>')

    def _card(self, card: T) -> str:
        look, answer = card.look, card.answer
        kind = "plain talk" if look.is_prompt else "plain"
        if look.picture:
            kind = f"ratio-{look.ratio}"
        return (
            f'<li class="card panel {kind}" data-id="{self._field(card)[1]}">'
            f"{self.stage(card)}"
            f"{_class_tag(answer) if look.picture else ''}{_marks(card)}"
            f'<div class="caption"><p class="id mono">{self.link(card)}</p>'
            f'<div class="said">{write_answer(answer)}</div>{self._beside(card)}'
            f'<div class="foot">{_metadata(card)}{_facts(card)}</div></div>'
            f'<label class="pick">{self._pick(card)}</label></li>'
        )


class ListMarkup(GalleryMarkup[Card]):
    """Writes the cards and the strips of one model's inferences; ``TableMarkup`` has the rows."""

    def __init__(self, model: RegisteredModel, within: str = "") -> None:
        super().__init__(within)
        # The address of any inference, so that the routes are asked once for all cards.
        address = reverse(
            "inferences:detail", args=[model.project, model.model_id, "-"]
        )
        self._base = escape(address[:-1])

    def strip(self, cards: Iterable[Card]) -> SafeString:
        """Return the items of a strip of similar inferences."""
        return SafeString("".join(map(self._similar, cards)))

    def address(self, card: Card) -> str:
        return self.address_of(card.inference.inference_id)

    def address_of(self, inference_id: str) -> str:
        """Return the escaped address of the page of an inference."""
        return self._base + escape(quote(inference_id, safe=IN_PATHS))

    def _picture(self, card: Card) -> str:
        return f"{self.address(card)}/preview"

    def _field(self, card: Card) -> tuple[str, str]:
        return "inference_id", escape(card.inference.inference_id)

    def _beside(self, card: Card) -> str:
        return _passages(card)

    def _similar(self, card: Card) -> str:
        look, name = card.look, escape(card.inference.inference_id)
        source = self._picture(card)
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


def _passages(card: Card) -> str:
    return "".join(map(write_passage, card.passages))


def write_passage(passage: Passage) -> SafeString:
    """Return a passage with its side, what was found in it being marked."""
    pieces = (
        f"<mark>{escape(text)}</mark>" if is_found else escape(text)
        for text, is_found in passage.pieces
    )
    return SafeString(
        f'<p class="passage"><b>{passage.side}</b> '
        f'<span dir="auto">{"".join(pieces)}</span></p>'
    )


def write_warnings(card: Item) -> str:
    if not (warnings := card.warnings):
        return ""
    count, title = len(warnings), escape(" ".join(warnings))
    return (
        f'<span class="badge warn" title="{title}">{icon("warning")}'
        f"{count} warning{'' if count == 1 else 's'}</span>"
    )


def _marks(card: Item) -> str:
    """Return what is seen of a card without its text: badges, protection, warnings, distance."""
    distance = card.distance
    marks = (
        "" if distance is None else f'<span class="number">{distance:.3f}</span>',
        *(f"<span>{escape(badge)}</span>" for badge in card.badges),
        icon("shield", "protected") if card.is_protected else "",
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


def _metadata(card: Item) -> str:
    if not card.metadata:
        return ""
    parts = []
    for key, value in card.metadata:
        name, text = escape(key), escape(value)
        parts.append(f'<span title="{name}: {text}">{name} <b>{text}</b></span>')
    return f'<p class="metadata">{" ".join(parts)}</p>'


def _facts(card: Item) -> str:
    distance = card.distance
    facts = [f"<span>{moment(card.moment)}</span>"]
    if distance is not None:
        facts.append(f'<span class="number">distance {distance:.4f}</span>')
    if card.source:
        facts.append(f"<span>{escape(card.source)}</span>")
    if card.is_protected:
        facts.append(icon("shield", "protected"))
    return f'<p class="spread">{"".join(facts)}{write_warnings(card)}</p>'
