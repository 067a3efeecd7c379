"""Fields that the store reads out of answers, as inferences have them."""

from __future__ import annotations

from inference_store.models.base import AnswerModel


class Mask(AnswerModel):
    """A mask as COCO's run lengths: column by column, the first run is outside the mask.

    ``size`` is height and width in pixels. ``counts`` as a text is COCO's compressed form.
    """

    size: list[int]
    counts: list[int] | str


class Detection(AnswerModel):
    """A label in the answer of a model, with its geometry if it has one.

    A box has ``xmin`` to ``ymax``, in pixels, or as fractions of the picture's size if
    ``normalised`` is set. An oriented box has ``cx``, ``cy``, ``w``, ``h`` and ``r``. A
    segment has ``contours`` or a ``mask``, and a class has none of these.
    """

    label: str
    score: float | None = None
    xmin: float | None = None
    ymin: float | None = None
    xmax: float | None = None
    ymax: float | None = None
    normalised: bool = False
    cx: float | None = None
    cy: float | None = None
    w: float | None = None
    h: float | None = None
    r: float | None = None
    contours: list[list[list[float]]] | None = None
    mask: Mask | None = None


class ClassProbability(AnswerModel):
    """A class of a classifier and its probability."""

    label: str
    score: float | None = None


class Entity(AnswerModel):
    """A span of the input text, from ``start`` up to but not including ``end``.

    ``text`` is None if the answer does not repeat the text.
    """

    label: str
    start: int
    end: int
    score: float | None = None
    text: str | None = None
