"""The HTML of cards and table rows.

It is written in Python, as that of pictures, inputs and answers is: a page has dozens of cards
with dozens of shapes, and Django's templates took most of the processor time of a list. Every
value that a caller or a model wrote goes through ``escape``; numbers and names of our own do not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from urllib.parse import quote

from django.urls import reverse
from django.utils.html import escape
from django.utils.safestring import SafeString

from inferences.models import RegisteredModel
from inferences.web.answer_markup import write_answer, write_label, write_score
from inferences.web.input_markup import write_input
from inferences.web.picture_markup import write_patch, write_picture
from inferences.web.view_models.answers import Answer
from inferences.web.view_models.browsing import Card
from inferences.web.view_models.patches import Patch
from istore.templatetags.pages import icon, moment, size

IN_PATHS = "!$&'()*+,;=/~:@"  # characters that Django's routes leave as they are
NOTHING = '<span class="faint">—</span>'


class ListMarkup:
    """Writes the cards and rows of one list; ``within`` is the query string of links to them."""

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

    def patches(self, patches: Iterable[Patch], sizes: str) -> SafeString:
        """Return the items of a gallery of patches; ``sizes`` are those of plain and dense screens."""
        return SafeString("".join(self._patch(patch, sizes) for patch in patches))

    def rows(self, cards: Iterable[Card], columns: Sequence[str]) -> SafeString:
        """Return the rows of a table."""
        return SafeString("".join(self._row(card, columns) for card in cards))

    def strip(self, cards: Iterable[Card]) -> SafeString:
        """Return the items of a strip of similar inferences."""
        return SafeString("".join(map(self._similar, cards)))

    def _address(self, card: Card | Patch) -> str:
        return self._base + escape(quote(card.inference.inference_id, safe=IN_PATHS))

    def _link(self, card: Card | Patch) -> str:
        name = escape(card.inference.inference_id)
        return (
            f'<a href="{self._address(card)}{self._within}" title="{name}">{name}</a>'
        )

    def _card(self, card: Card) -> str:
        look, answer = card.look, card.answer
        name = escape(card.inference.inference_id)
        if look.picture:
            kind = f"ratio-{look.ratio}"
            shown = write_picture(
                look, answer, f"{self._address(card)}/preview", look.in_card, "320 640"
            )
        else:
            kind, shown = "plain", write_input(look)
        return (
            f'<li class="card panel {kind}" data-id="{name}">'
            f'<div class="stage">{shown}</div>'
            f"{_class_tag(answer) if look.picture else ''}{_marks(card)}"
            f'<div class="caption"><p class="id mono">{self._link(card)}</p>'
            f'<div class="said">{write_answer(answer)}</div>'
            f'<div class="foot">{_metadata(card)}{_facts(card)}</div></div>'
            f'<label class="pick">{_pick(name)}</label></li>'
        )

    def _patch(self, patch: Patch, sizes: str) -> str:
        found, name = patch.found, escape(patch.inference.inference_id)
        label, score = escape(found.label), write_score(found.score, 2)
        shown = write_patch(patch, f"{self._address(patch)}/preview", sizes)
        verdict = found.verdict
        kind = "ground truth" if patch.is_true else "answer"
        words = [f"{kind}: {label} {score}".strip()]
        mark = ""
        if verdict:
            words.append(verdict.title)
            mark = (
                f'<p class="marks verdict-mark {verdict.kind}"><span>{verdict.mark}</span>'
                f'<span class="number">{verdict.overlap:.2f}</span></p>'
            )
        if patch.others:
            words.append(f"{patch.others} more of this inference")
        more = f" <span>+{patch.others}</span>" if patch.others else ""
        said = "".join(f"<p>{word}</p>" for word in words)
        return (
            f'<li class="card panel patch{" true" if patch.is_true else ""} ratio-{patch.ratio}" '
            f'data-id="{name}"><div class="stage">{shown}</div>'
            f'<p class="class-tag hue-{found.hue}">{label} <span>{score}</span>{more}</p>{mark}'
            f'<div class="caption"><p class="id mono">{self._link(patch)}</p>'
            f'<div class="said">{said}</div></div>'
            f'<label class="pick">{_pick(name, f", {label} {score}".rstrip())}</label></li>'
        )

    def _row(self, card: Card, columns: Sequence[str]) -> str:
        look, name = card.look, escape(card.inference.inference_id)
        if look.picture:
            source = f"{self._address(card)}/preview"
            shown = write_picture(
                look, card.answer, source, look.in_line, "160", tags=False
            )
        else:
            shown = icon("gone", look.missing) if look.missing else icon("table")
        cells = "".join(_cell(card, column) for column in columns)
        values = "".join(map(_value, card.values))
        return (
            f'<tr data-id="{name}"><td class="pick">{_pick(name)}</td>'
            f'<td class="thumb"><div class="stage">{shown}</div></td>'
            f'<th scope="row" class="id mono">{self._link(card)} {_warnings(card)}</th>'
            f"{cells}{values}</tr>"
        )

    def _similar(self, card: Card) -> str:
        look, name = card.look, escape(card.inference.inference_id)
        source = f"{self._address(card)}/preview"
        shown = (
            write_picture(look, card.answer, source, look.in_line, "160", tags=False)
            if look.picture
            else write_input(look)
        )
        return (
            f'<li><a href="{self._address(card)}" title="{name}">'
            f'<span class="stage">{shown}</span>'
            f'<span class="number small">{card.distance or 0:.4f}</span>'
            f'<span class="visually-hidden">{name}</span></a></li>'
        )


def _pick(name: str, part: str = "") -> str:
    """Return the box that selects an inference; ``part`` names the patch of it."""
    return (
        f'<input type="checkbox" data-select value="{name}" name="inference_id" '
        f'form="selection" aria-label="Select {name}{part}">'
    )


def _warnings(card: Card) -> str:
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
    return f'<p class="spread">{"".join(facts)}{_warnings(card)}</p>'


def _cell(card: Card, column: str) -> str:
    inference = card.inference
    match column:
        case "answer":
            return f"<td>{_answer_cell(card.answer)}</td>"
        case "action":
            return f"<td>{escape(inference.get_inference_action_display())}</td>"
        case "source":
            name = escape(inference.source.name) if inference.source else NOTHING
            return f'<td class="nowrap">{name}</td>'
        case "time":
            return f'<td class="nowrap">{moment(inference.created_at, "second")}</td>'
        case "score":
            score = inference.top_score
            text = NOTHING if score is None else write_score(score)
            return f'<td class="number">{text}</td>'
        case "size":
            return f'<td class="number nowrap">{size(inference.data_size)}</td>'
        case "place":
            place = (
                NOTHING
                if inference.latitude is None
                else f"{inference.latitude:.4f}, {inference.longitude:.4f}"
            )
            return f'<td class="number nowrap">{place}</td>'
    return ""


def _value(value: str | None) -> str:
    if value is None:
        return f'<td class="value" title="">{NOTHING}</td>'
    text = escape(value)
    return f'<td class="value" title="{text}">{text}</td>'


def _answer_cell(answer: Answer) -> str:
    if answer.is_classes:
        return f'<ul class="labels">{write_label(answer.best[0], 3)}</ul>'
    if answer.embedding:
        return f'<span class="soft">{len(answer.embedding)} numbers</span>'
    return write_answer(answer)
