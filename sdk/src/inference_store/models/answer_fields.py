"""What the store understood of answers, as inferences carry it."""

from __future__ import annotations

from inference_store.models.base import AnswerModel


class Mask(AnswerModel):
    """Run lengths as in COCO: column by column, beginning with those outside.

    ``size`` is height and width; a text is COCO's compressed form of the counts.
    """

    size: list[int]
    counts: list[int] | str


class Detection(AnswerModel):
    """Something the model named, with the geometry of its answer.

    A box has ``xmin`` to ``ymax``, in pixels, or in parts of the picture's size where
    ``normalised`` is set. An oriented box has ``cx``, ``cy``, ``w``, ``h`` and ``r``,
    a segment ``contours`` or a ``mask``, a class none of them.
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
    """A class of a classifier with its probability."""

    label: str
    score: float | None = None


class Entity(AnswerModel):
    """A span of the input text; ``end`` is not in it.

    ``text`` is None where the answer does not repeat the text.
    """

    label: str
    start: int
    end: int
    score: float | None = None
    text: str | None = None
