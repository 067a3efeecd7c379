"""The HTML of cards, table rows, pictures and answers.

It is written in Python: a page has dozens of cards with dozens of shapes, and Django's templates
took most of the processor time of a list. Every value that a caller or a model wrote goes
through ``escape``; numbers and names of our own do not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from urllib.parse import quote

from django.urls import reverse
from django.utils.html import escape
from django.utils.safestring import SafeString

from inferences.models import RegisteredModel
from inferences.predictions.model_types import type_of_content
from inferences.web.view_models.answers import Answer, Found
from inferences.web.view_models.browsing import Card
from inferences.web.view_models.inputs import Look
from inferences.web.view_models.plots import Bars
from istore.templatetags.pages import icon, moment, size

LABELS_SHOWN = 4
# How many pixels pictures with names are high at least: in rows of cards, and on a phone.
LEAST_IN_CARD, LEAST_IN_PAGE = 92, 240
IN_PATHS = "!$&'()*+,;=/~:@"  # characters that Django's routes leave as they are
LAZY = ' loading="lazy"'
NEGATIVE = ' class="negative"'
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

    def rows(self, cards: Iterable[Card], columns: Sequence[str]) -> SafeString:
        """Return the rows of a table."""
        return SafeString("".join(self._row(card, columns) for card in cards))

    def strip(self, cards: Iterable[Card]) -> SafeString:
        """Return the items of a strip of similar inferences."""
        return SafeString("".join(map(self._similar, cards)))

    def _address(self, card: Card) -> str:
        return self._base + escape(quote(card.inference.inference_id, safe=IN_PATHS))

    def _link(self, card: Card) -> str:
        name = escape(card.inference.inference_id)
        return (
            f'<a href="{self._address(card)}{self._within}" title="{name}">{name}</a>'
        )

    def _card(self, card: Card) -> str:
        look, answer = card.look, card.answer
        name = escape(card.inference.inference_id)
        if look.picture:
            kind = f"ratio-{look.ratio}"
            shown = picture(
                look, answer, f"{self._address(card)}/preview", look.in_card, "320 640"
            )
        else:
            kind, shown = "plain", input_of(look)
        return (
            f'<li class="card panel {kind}" data-id="{name}">'
            f'<div class="stage">{shown}</div>'
            f"{_class_tag(answer) if look.picture else ''}{_marks(card)}"
            f'<div class="caption"><p class="id mono">{self._link(card)}</p>'
            f'<div class="said">{said(answer)}</div>'
            f'<div class="foot">{_metadata(card)}{_facts(card)}</div></div>'
            f'<label class="pick">{_pick(name)}</label></li>'
        )

    def _row(self, card: Card, columns: Sequence[str]) -> str:
        look, name = card.look, escape(card.inference.inference_id)
        if look.picture:
            source = f"{self._address(card)}/preview"
            shown = picture(look, card.answer, source, look.in_line, "160", tags=False)
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
            picture(look, card.answer, source, look.in_line, "160", tags=False)
            if look.picture
            else input_of(look)
        )
        return (
            f'<li><a href="{self._address(card)}" title="{name}">'
            f'<span class="stage">{shown}</span>'
            f'<span class="number small">{card.distance or 0:.4f}</span>'
            f'<span class="visually-hidden">{name}</span></a></li>'
        )


def _pick(name: str) -> str:
    return (
        f'<input type="checkbox" data-select value="{name}" name="inference_id" '
        f'form="selection" aria-label="Select {name}">'
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
        f"<span>{_score(best.score, 2)}</span></p>"
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
            text = NOTHING if score is None else _score(score)
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
        return f'<ul class="labels">{_label(answer.best[0], 3)}</ul>'
    if answer.embedding:
        return f'<span class="soft">{len(answer.embedding)} numbers</span>'
    return said(answer)


def _score(score: float | None, digits: int = 3) -> str:
    return "" if score is None else f"{score:.{digits}f}"


# -- what the model said


def said(answer: Answer) -> SafeString:
    """Return an answer in short: class bars, labels, a plot or a text."""
    return SafeString(_said(answer))


def _said(answer: Answer) -> str:
    if answer.nothing_found:
        return '<p class="soft small">Ran and found nothing</p>'
    if answer.is_classes:
        bars_of_classes = "".join(_class_bar(each, answer) for each in answer.best)
        return f'<ol class="class-bars">{bars_of_classes}</ol>'
    if answer.found:
        groups = answer.groups[:LABELS_SHOWN]
        labels = "".join(_label(each, 2, count) for each, count in groups)
        others = answer.others if answer.is_marked else 0
        if others:
            ending = "" if others == 1 else "s"
            labels += f'<li class="faint">+{others} other{ending}</li>'
        return f'<ul class="labels">{labels}</ul>'
    if answer.plot:
        return bars(answer.plot, "plot", "The numbers of the embedding")
    if answer.content:
        text = type_of_content(answer.content).summary(answer.content)
        return f'<p class="excerpt">{escape(text or "An empty text")}</p>'
    if answer.excerpt:
        return f'<p class="excerpt">{escape(answer.excerpt)}</p>'
    return '<p class="faint small">No answer in the record</p>'


def _class_bar(each: Found, answer: Answer) -> str:
    is_match = " match" if answer.is_marked and each.is_match else ""
    label = escape(each.label)
    return (
        f'<li class="hue-{each.hue}{is_match}"><span class="name" title="{label}">{label}</span>'
        f'<svg class="bar by-hue" aria-hidden="true"><rect width="{each.percent}%" height="100%"/>'
        f'</svg><span class="number">{_score(each.score)}</span></li>'
    )


def _label(each: Found, digits: int, count: int = 1) -> str:
    label = escape(each.label)
    times = f'<span class="faint">&times;{count}</span>' if count > 1 else ""
    score = _score(each.score, digits)
    score = f'<span class="number soft">{score}</span>' if score else ""
    return (
        f'<li class="hue-{each.hue}" data-label="{each.place}"><span class="swatch"></span>'
        f'<span class="name" title="{label}">{label}</span>{times}{score}</li>'
    )


# -- what the model was asked


def input_of(look: Look) -> SafeString:
    """Return an input that is no picture, or the reason why it is not shown."""
    return SafeString(_input(look))


def _input(look: Look) -> str:
    if look.values:
        shown = "".join(
            f'<div><dt>{escape(name)}</dt><dd title="{escape(value)}">{escape(value)}</dd></div>'
            for name, value in look.values
        )
        return f'<dl class="values">{shown}</dl>'
    if look.plot:
        return bars(look.plot, "plot on-stage", "The numbers of the input")
    if look.text:
        return f'<p class="excerpt">{escape(look.text)}</p>'
    if look.missing == "expired":
        return f'<div class="absent">{icon("gone")}<p>Input expired</p></div>'
    if look.missing == "none":
        return f'<div class="absent">{icon("gone")}<p>No input stored</p></div>'
    return f'<div class="absent">{icon("picture")}<p>{escape(look.missing)}</p></div>'


def bars(plot: Bars, kind: str, label: str = "") -> SafeString:
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


# -- a picture and what was found in it


def picture(
    look: Look,
    answer: Answer,
    source: str,
    fit: tuple[int, int],
    sizes: str,
    *,
    alt: str = "",
    tags: bool | Sequence[Found] = True,
    truth: Sequence[Found] = (),
    is_lazy: bool = True,
) -> SafeString:
    """Return a picture of ``fit`` pixels with the outlines of an answer and of a ground truth.

    ``sizes`` are the previews to load on plain and on dense screens. Outlines are fitted into
    the frame as the picture is, so they stay together when a frame is a little wider or higher.
    """
    plain, _, dense = sizes.partition(" ")
    sources = (
        f' srcset="{source}?size={plain} 1x, {source}?size={dense} 2x"' if dense else ""
    )
    assert look.picture is not None
    box = ' viewBox="0 0 {} {}"'.format(*look.picture.upright)
    tagged = answer.tagged if tags is True else tags or ()
    high = LEAST_IN_CARD if tags is True else LEAST_IN_PAGE
    kind = ' class="segments"' if answer.kind == "image_segmentation" else ""
    layers = (
        _layer(f"data-answer{kind}{box}", _shapes(answer)),
        _layer("data-answer", "".join(_tag(each, high) for each in tagged)),
        _layer(f'data-truth class="truth"{box}', "".join(map(_true_shape, truth))),
    )
    return SafeString(
        f'<div class="frame{" tiny" if look.is_tiny else ""}" data-frame>'
        f'<img src="{source}?size={plain}"{sources} width="{fit[0]}" height="{fit[1]}" '
        f'alt="{escape(alt)}"{LAZY if is_lazy else ""} decoding="async">{"".join(layers)}'
        '<span class="why">The picture cannot be shown: it is gone, or cannot be decoded.</span>'
        "</div>"
    )


def _layer(attributes: str, content: str) -> str:
    return f'<svg {attributes} aria-hidden="true">{content}</svg>' if content else ""


def _shapes(answer: Answer) -> str:
    return "".join(
        f'<g class="shape hue-{each.hue}'
        f'{" other" if answer.is_marked and not each.is_match else ""}" {_data(each)}>'
        f"{_paths(each)}</g>"
        for each in answer.drawn
    )


def _data(each: Found) -> str:
    """Return what scripts choose shapes by: row, label, and score in steps of the slider."""
    score = "" if each.step is None else f' data-step="{each.step}"'
    return f'data-row="{each.row}" data-label="{each.place}"{score}'


def _paths(each: Found, title: str = "") -> str:
    assert each.outline is not None
    path = each.outline.path
    return (
        f'<path class="halo" d="{path}"/><path class="line" d="{path}">{title}</path>'
    )


def _true_shape(each: Found) -> str:
    if each.outline is None:
        return ""
    title = f"<title>{escape(each.label)}</title>"
    return f'<g class="shape hue-{each.hue}">{_paths(each, title)}</g>'


def _tag(each: Found, high: int) -> str:
    tag = each.tag
    assert tag is not None
    return (
        f'<svg class="tag hue-{each.hue}" {_data(each)} x="{tag.x}%" y="{tag.y}%" '
        f'overflow="visible"><g transform="translate({tag.shift_x} {tag.shift_y(high)})">'
        f'<rect width="{tag.width}" height="17" rx="3"/>'
        f'<text x="5" y="12">{escape(tag.text)}</text></g></svg>'
    )
