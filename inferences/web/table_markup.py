"""The HTML of table rows, written in Python as that of cards is (``list_markup``)."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from urllib.parse import quote_plus

from django.urls import reverse
from django.utils.safestring import SafeString

from inferences.models import RegisteredModel
from inferences.web.answer_markup import write_answer, write_label, write_score
from inferences.web.list_markup import (
    NOTHING,
    ListMarkup,
    write_warnings,
)
from inferences.web.picture_markup import write_picture
from inferences.web.view_models.answers import Answer
from inferences.web.view_models.browsing import Card
from inferences.web.view_models.columns import INPUT, META
from inferences.web.view_models.features import NamedValues
from inferences.web.view_models.table import Head, Table, is_editable
from istore.templatetags.pages import icon, moment, size
from istore.web.escaping import escape

ID_END = 8  # characters of an id that a narrow column never cuts


def value_page(model: RegisteredModel) -> str:
    """Return the address of the form that changes a metadata value in its place."""
    return reverse("inferences:edit-value", args=[model.project, model.model_id])


class TableMarkup(ListMarkup):
    """Writes the rows of one table; with an ``edit`` address metadata values can be changed."""

    def __init__(
        self, model: RegisteredModel, within: str, table: Table, edit: str = ""
    ) -> None:
        super().__init__(model, within)
        self._table = table
        self._edit = edit
        self._most = table.features.most or max(
            (abs(v) for each in table.values.values() for v in each.shap.values()),
            default=0.0,
        )

    def rows(self, cards: Iterable[Card]) -> SafeString:
        """Return the rows of a table."""
        return SafeString("".join(map(self._row, cards)))

    def _row(self, card: Card) -> str:
        name = escape(card.inference.inference_id)
        values = self._table.values.get(card.inference.id)
        cells = "".join(self._cell(card, each, values) for each in self._table.heads)
        thumb = self._thumb(card) if self._table.has_pictures else ""
        return (
            f'<tr data-id="{name}"><td class="pick">{self._pick(card)}</td>{thumb}'
            f'<th scope="row" class="id mono">{self.link(card)} {_failure(card)}{write_warnings(card)}'
            f"{self._beside(card)}</th>{cells}</tr>"
        )

    def link(self, card: Card) -> str:
        """Return the link to an inference. Ids often differ in their ends alone, which stay in sight."""
        name = card.name
        whole, address = escape(name), f"{self.address(card)}{self._within}"
        if len(name) <= 2 * ID_END:  # it fits
            return f'<a href="{address}" title="{whole}">{whole}</a>'
        begin, end = escape(name[:-ID_END]), escape(name[-ID_END:])
        # A screen reader would read the two pieces as two words.
        return (
            f'<a href="{address}" title="{whole}" aria-label="{whole}">'
            f"<span>{begin}</span><span>{end}</span></a>"
        )

    def _thumb(self, card: Card) -> str:
        look = card.look
        if look.picture:
            source = self._picture(card)
            shown = write_picture(
                look, card.answer, source, look.in_line, "160", tags=False
            )
        else:
            shown = icon("gone", look.missing) if look.missing else icon("table")
        return f'<td class="thumb"><div class="stage">{shown}</div></td>'

    def _cell(self, card: Card, head: Head, values: NamedValues | None) -> str:
        column = head.column
        kind = "pinned" if head.is_pinned else ""
        match column.part:
            case "":
                return _cell(card, column.name, kind)
            case part if part == META:
                given = card.inference.payload.metadata.get(column.key)
                inner = self._value(card, column.key, given)
                return f'<td class="value {kind}">{inner}</td>'
            case part if part == INPUT:
                value = values.inputs.get(column.key) if values else None
                return _input_cell(value, kind)
        shap = values.shap.get(column.key) if values else None
        return _shap_cell(shap, self._most, kind)

    def _value(self, card: Card, key: str, given: list[str] | None) -> str:
        if not self._edit or not is_editable(key):
            return f'<div class="cell">{write_value(given)}</div>'
        return write_editable(self._edit, card.inference.inference_id, key, given)


def write_value(given: list[str] | None) -> str:
    """Return a metadata value, given as its type and text."""
    if given is None:
        return NOTHING
    text = escape(given[1])
    return f'<span title="{text}">{text}</span>'


def write_editable(
    address: str,
    inference_id: str,
    key: str,
    given: list[str] | None,
    attributes: str = "",
) -> str:
    """Return a metadata value with the link that changes it in its place.

    How htmx swaps it is said once, by the body of the table.
    """
    # As ``urlencode`` writes it.
    query = f"inference_id={quote_plus(inference_id)}&amp;key={quote_plus(key)}"
    here = f"{escape(address)}?{query}"
    return (
        f'<div class="cell" id="{cell_of(inference_id, key)}"{attributes}>'
        f'{write_value(given)}<a class="edit" href="{here}" hx-get="{here}" '
        f'aria-label="Change {escape(key)}">'
        f"{icon('edit')}</a></div>"
    )


def cell_of(inference_id: str, key: str) -> str:
    """Return the id of the element that holds a metadata value in a table."""
    text = f"{inference_id}\0{key}".encode("utf-8", "replace")
    return f"value-{zlib.crc32(text):x}-{len(text)}"


def _input_cell(value: str | None, kind: str) -> str:
    if value is None:
        return f'<td class="{kind}">{NOTHING}</td>'
    text = escape(value)
    number = "number end" if _is_number(value) else "value"
    return f'<td class="{number} {kind}" title="{text}">{text}</td>'


def _is_number(text: str) -> bool:
    return text[:1] in "-0123456789" and text[-1:].isdigit()


def _shap_cell(value: float | None, most: float, kind: str) -> str:
    """Return a SHAP value with a bar to the left or right of the middle."""
    if value is None:
        return f'<td class="shap {kind}">{NOTHING}</td>'
    width = round(min(50 * abs(value) / most, 50), 2) if most else 0
    x = 50 - width if value < 0 else 50
    negative = ' class="negative"' if value < 0 else ""
    return (
        f'<td class="shap {kind}"><svg class="diverging" aria-hidden="true">'
        f'<rect{negative} x="{x:g}%" width="{width:g}%" height="100%"/>'
        '<line x1="50%" x2="50%" y1="0" y2="100%"/></svg>'
        f'<span class="number">{value:+.4g}</span></td>'
    )


def _cell(card: Card, column: str, kind: str) -> str:
    inference = card.inference
    match column:
        case "answer":
            return f'<td class="{kind}">{_answer_cell(card.answer)}</td>'
        case "action":
            action = escape(inference.get_inference_action_display())
            return f'<td class="{kind}">{action}</td>'
        case "source":
            name = escape(inference.source.name) if inference.source else NOTHING
            return f'<td class="nowrap {kind}">{name}</td>'
        case "time":
            return f'<td class="nowrap {kind}">{moment(inference.created_at, "second")}</td>'
        case "score":
            score = inference.top_score
            text = NOTHING if score is None else write_score(score)
            return f'<td class="number end {kind}">{text}</td>'
        case "size":
            return f'<td class="number nowrap {kind}">{size(inference.data_size)}</td>'
        case "place":
            place = (
                NOTHING
                if inference.latitude is None
                else f"{inference.latitude:.4f}, {inference.longitude:.4f}"
            )
            return f'<td class="number nowrap {kind}">{place}</td>'
    return ""


def _answer_cell(answer: Answer) -> str:
    if answer.is_classes:
        return f'<ul class="labels">{write_label(answer.best[0], 3)}</ul>'
    if answer.embedding:
        return f'<span class="soft">{len(answer.embedding)} numbers</span>'
    return write_answer(answer)


def _failure(card: Card) -> str:
    """Return why the call failed; nothing for one that did not."""
    if not card.failed:
        return ""
    reason, title = escape(card.failed.reason), escape(str(card.failed))
    return f'<span class="badge bad" title="{title}">{icon("warning")}failed: {reason}</span>'
