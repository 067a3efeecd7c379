"""The HTML of pictures with the outlines of an answer and of a ground truth."""

from __future__ import annotations

from collections.abc import Sequence

from django.utils.html import escape
from django.utils.safestring import SafeString

from inferences.web.view_models.answers import Answer, Found
from inferences.web.view_models.inputs import Look

LAZY = ' loading="lazy"'
# How many pixels pictures with names are high at least: in rows of cards, and on a phone.
LEAST_IN_CARD, LEAST_IN_PAGE = 92, 240


def write_picture(
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
        _write_layer(f"data-answer{kind}{box}", _write_shapes(answer)),
        _write_layer("data-answer", "".join(_write_tag(each, high) for each in tagged)),
        _write_layer(
            f'data-truth class="truth"{box}', "".join(map(_write_true_shape, truth))
        ),
    )
    return SafeString(
        f'<div class="frame{" tiny" if look.is_tiny else ""}" data-frame>'
        f'<img src="{source}?size={plain}"{sources} width="{fit[0]}" height="{fit[1]}" '
        f'alt="{escape(alt)}"{LAZY if is_lazy else ""} decoding="async">{"".join(layers)}'
        '<span class="why">The picture cannot be shown: it is gone, or cannot be decoded.</span>'
        "</div>"
    )


def _write_layer(attributes: str, content: str) -> str:
    return f'<svg {attributes} aria-hidden="true">{content}</svg>' if content else ""


def _write_shapes(answer: Answer) -> str:
    return "".join(
        f'<g class="shape hue-{each.hue}'
        f'{" other" if answer.is_marked and not each.is_match else ""}" {_write_data(each)}>'
        f"{_write_paths(each)}</g>"
        for each in answer.drawn
    )


def _write_data(each: Found) -> str:
    """Return what scripts choose shapes by: row, label, and score in steps of the slider."""
    score = "" if each.step is None else f' data-step="{each.step}"'
    return f'data-row="{each.row}" data-label="{each.place}"{score}'


def _write_paths(each: Found, title: str = "") -> str:
    assert each.outline is not None
    path = each.outline.path
    return (
        f'<path class="halo" d="{path}"/><path class="line" d="{path}">{title}</path>'
    )


def _write_true_shape(each: Found) -> str:
    if each.outline is None:
        return ""
    title = f"<title>{escape(each.label)}</title>"
    return (
        f'<g class="shape hue-{each.hue}" data-label="{each.place}">'
        f"{_write_paths(each, title)}</g>"
    )


def _write_tag(each: Found, high: int) -> str:
    tag = each.tag
    assert tag is not None
    return (
        f'<svg class="tag hue-{each.hue}" {_write_data(each)} x="{tag.x}%" y="{tag.y}%" '
        f'overflow="visible"><g transform="translate({tag.shift_x} {tag.shift_y(high)})">'
        f'<rect width="{tag.width}" height="17" rx="3"/>'
        f'<text x="5" y="12">{escape(tag.text)}</text></g></svg>'
    )
