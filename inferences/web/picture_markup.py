"""The HTML of pictures with the outlines of an answer and of a ground truth."""

from __future__ import annotations

from collections.abc import Sequence

from django.utils.safestring import SafeString

from inferences.web.view_models.answers import Answer, Found
from inferences.web.view_models.inputs import Look
from inferences.web.view_models.patches import Patch
from istore.web.escaping import escape

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
    missed = [each for each in truth if each.verdict and each.verdict.kind == "missed"]
    layers = (
        _write_layer(f"data-answer{kind}{box}", _write_shapes(answer)),
        _write_layer("data-answer", "".join(_write_tag(each, high) for each in tagged)),
        _write_layer(
            f'data-truth class="truth"{box}', "".join(map(_write_true_shape, truth))
        ),
        _write_layer(
            "data-truth",
            "".join(_write_tag(each, high, "") for each in missed if each.tag),
        ),
    )
    is_judged = answer.is_judged or bool(missed)
    classes = f"{' tiny' if look.is_tiny else ''}{' judged' if is_judged else ''}"
    return SafeString(
        f'<div class="frame{classes}" data-frame>'
        f'<img src="{source}?size={plain}"{sources} width="{fit[0]}" height="{fit[1]}" '
        f'alt="{escape(alt)}"{LAZY if is_lazy else ""} decoding="async">{"".join(layers)}'
        '<span class="why">The picture cannot be shown: it is gone, or cannot be decoded.</span>'
        "</div>"
    )


def write_patch(patch: Patch, source: str, sizes: str) -> SafeString:
    """Return a part of a picture with the outline of the shape that it is of."""
    plain, _, dense = sizes.partition(" ")
    part = f"{source}?crop={','.join(map(str, patch.crop))}&amp;size="
    x, y, width, height = patch.box
    scale = min(400 / width, 240 / height)
    wide, high = max(round(width * scale), 1), max(round(height * scale), 1)
    found = patch.found
    truth = ' class="truth"' if patch.is_true else ""
    judged = " judged" if found.verdict else ""
    box = f"{x:.6g} {y:.6g} {width:.6g} {height:.6g}"
    return SafeString(
        f'<div class="frame{judged}" data-frame><img src="{part}{plain}" '
        f'srcset="{part}{plain} 1x, {part}{dense} 2x" width="{wide}" height="{high}" alt=""'
        f'{LAZY} decoding="async"><svg{truth} viewBox="{box}" aria-hidden="true">'
        f'<g class="shape hue-{found.hue}{_verdict(found)}" {_write_data(found)}>'
        f"{_write_paths(found)}</g></svg>"
        '<span class="why">The picture cannot be shown.</span></div>'
    )


def _write_layer(attributes: str, content: str) -> str:
    return f'<svg {attributes} aria-hidden="true">{content}</svg>' if content else ""


def _write_shapes(answer: Answer) -> str:
    return "".join(
        f'<g class="shape hue-{each.hue}{_verdict(each)}'
        f'{" other" if answer.is_marked and not each.is_match else ""}" {_write_data(each)}>'
        f"{_write_paths(each, _write_title(each) if each.verdict else '')}</g>"
        for each in answer.drawn
    )


def _verdict(each: Found) -> str:
    """Return the classes of a shape that was matched with a ground truth."""
    if each.verdict is None:
        return ""
    return f" {each.verdict.kind}" + ("" if each.verdict.counts else " uncounted")


def _write_title(each: Found) -> str:
    """Return what is read over a shape."""
    score = "" if each.score is None else f" {each.score:.2f}"
    verdict = f": {each.verdict.title}" if each.verdict else ""
    return f"<title>{escape(each.label)}{score}{verdict}</title>"


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
    paths = _write_paths(each, _write_title(each))
    return (
        f'<g class="shape hue-{each.hue}{_verdict(each)}" data-label="{each.place}">'
        f"{paths}</g>"
    )


def _write_tag(each: Found, high: int, data: str | None = None) -> str:
    """Return the name over a shape; that of a true shape has no ``data`` for scripts."""
    tag = each.tag
    assert tag is not None
    data = _write_data(each) if data is None else data
    return (
        f'<svg class="tag hue-{each.hue}{_verdict(each)}" {data} x="{tag.x}%" '
        f'y="{tag.y}%" overflow="visible"><g transform="translate({tag.shift_x} {tag.shift_y(high)})">'
        f'<rect width="{tag.width}" height="17" rx="3"/>'
        f'<text x="5" y="12">{escape(tag.text)}</text></g></svg>'
    )
