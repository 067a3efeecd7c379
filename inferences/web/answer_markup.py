"""The HTML of answers in short: class bars, labels, a plot or a text."""

from __future__ import annotations

from django.utils.safestring import SafeString

from inferences.predictions.model_types import type_of_content
from inferences.predictions.parsers.values import Text
from inferences.web.input_markup import write_bars
from inferences.web.markdown import plain_text
from inferences.web.view_models.answers import Answer, Found
from istore.web.escaping import escape

LABELS_SHOWN = 4


def write_answer(answer: Answer) -> SafeString:
    """Return an answer in short: class bars, labels, a plot or a text."""
    return SafeString(_write(answer))


def _write(answer: Answer) -> str:
    if answer.nothing_found:
        return '<p class="soft small">Ran and found nothing</p>'
    if answer.is_classes:
        bars_of_classes = "".join(
            _write_class_bar(each, answer) for each in answer.best
        )
        return f'<ol class="class-bars">{bars_of_classes}</ol>'
    if answer.found:
        groups = answer.groups[:LABELS_SHOWN]
        labels = "".join(write_label(each, 2, count) for each, count in groups)
        others = answer.others if answer.is_marked else 0
        if others:
            ending = "" if others == 1 else "s"
            labels += f'<li class="faint">+{others} other{ending}</li>'
        return f'<ul class="labels">{labels}</ul>'
    if answer.plot:
        return write_bars(answer.plot, "plot", "The numbers of the embedding")
    if answer.content:
        text = type_of_content(answer.content).summary(answer.content)
        if isinstance(answer.content, Text):
            text = plain_text(text)
        return f'<p class="excerpt" dir="auto">{escape(text or "An empty text")}</p>'
    if answer.excerpt:
        return f'<p class="excerpt">{escape(answer.excerpt)}</p>'
    return '<p class="faint small">No answer in the record</p>'


def _write_class_bar(each: Found, answer: Answer) -> str:
    is_match = " match" if answer.is_marked and each.is_match else ""
    label = escape(each.label)
    return (
        f'<li class="hue-{each.hue}{is_match}"><span class="name" title="{label}">{label}</span>'
        f'<svg class="bar by-hue" aria-hidden="true"><rect width="{each.percent}%" height="100%"/>'
        f'</svg><span class="number">{write_score(each.score)}</span></li>'
    )


def write_label(each: Found, digits: int, count: int = 1) -> str:
    """Return an item of a list of labels; ``digits`` are those of its score."""
    label = escape(each.label)
    times = f'<span class="faint">&times;{count}</span>' if count > 1 else ""
    score = write_score(each.score, digits)
    score = f'<span class="number soft">{score}</span>' if score else ""
    return (
        f'<li class="hue-{each.hue}" data-label="{each.place}"><span class="swatch"></span>'
        f'<span class="name" title="{label}">{label}</span>{times}{score}</li>'
    )


def write_score(score: float | None, digits: int = 3) -> str:
    """Return a score with so many decimals; nothing for none."""
    return "" if score is None else f"{score:.{digits}f}"
