"""The values that parsers return: kinds of answers, shapes, detections and other content."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

T = TypeVar("T")
REAL = struct.Struct("f")


class Kind(StrEnum):
    """The kind of an answer. The values are the names in the API's collection."""

    NOT_UNDERSTOOD = ""
    OBJECT_DETECTION = "object_detection"
    ORIENTED_OBJECT_DETECTION = "oriented_object_detection"
    IMAGE_CLASSIFICATION = "image_classification"
    IMAGE_SEGMENTATION = "image_segmentation"
    EMBEDDING = "embedding"
    CLASSIFICATION = "classification"
    TEXT_CLASSIFICATION = "text_classification"
    NAMED_ENTITIES = "named_entities"
    RANKING = "ranking"
    REGRESSION = "regression"
    MULTI_OUTPUT = "multi_output"
    TIME_SERIES = "time_series"
    TEXT_GENERATION = "text_generation"

    @property
    def is_classes(self) -> bool:
        """Whether the labels are classes of the whole input."""
        return self in OF_CLASSES

    @property
    def has_labels(self) -> bool:
        """Whether such an answer can be found by label and score."""
        return self not in WITHOUT_LABELS


OF_CLASSES = (Kind.IMAGE_CLASSIFICATION, Kind.CLASSIFICATION, Kind.TEXT_CLASSIFICATION)
WITHOUT_LABELS = (
    Kind.NOT_UNDERSTOOD,
    Kind.EMBEDDING,
    Kind.REGRESSION,
    Kind.MULTI_OUTPUT,
    Kind.TIME_SERIES,
    Kind.TEXT_GENERATION,
)


@dataclass(frozen=True, slots=True)
class Box:
    """A box in pixels from the upper left corner; if normalised, in shares of the image's size."""

    xmin: float
    ymin: float
    xmax: float
    ymax: float
    normalised: bool = False


@dataclass(frozen=True, slots=True)
class OrientedBox:
    """A rotated box: centre and size in shares of the image's size, ``r`` in radians."""

    cx: float
    cy: float
    w: float
    h: float
    r: float


Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Polygons:
    """Closed contours of points (x, y): the outline first, then its holes."""

    contours: tuple[tuple[Point, ...], ...]


@dataclass(frozen=True, slots=True)
class Mask:
    """A mask as COCO's run lengths: column by column, the first run outside the mask.

    ``counts`` is a text if it is COCO's compressed form of the same counts.
    """

    counts: tuple[int, ...] | str
    height: int
    width: int


Shape = Box | OrientedBox | Polygons | Mask


@dataclass(frozen=True, slots=True)
class Detection:
    """A thing that the model named. A class of the whole input has no shape."""

    label: str
    score: float | None = None
    shape: Shape | None = None


@dataclass(frozen=True, slots=True)
class Entity:
    """A span of the input text, in characters from its beginning; ``end`` is exclusive."""

    label: str
    start: int
    end: int
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Entities:
    """The spans of one text."""

    entities: tuple[Entity, ...]
    text: str = ""  # the text of the spans, if the answer repeats it


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function that the model asks to call, with its arguments as JSON text."""

    name: str
    arguments: str

    def __str__(self) -> str:
        return f"{self.name}({self.arguments})"


@dataclass(frozen=True, slots=True)
class Message:
    """One reply or turn. If the model wrote no text, ``text`` spells out its tool calls."""

    role: str
    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    is_refusal: bool = False


@dataclass(frozen=True, slots=True)
class Text:
    """Generated text: one message, several turns, or several choices.

    Of turns the last one is the answer; of choices the first one is.
    """

    messages: tuple[Message, ...]
    finish_reason: str = ""
    tokens: int | None = None  # the number of generated tokens
    are_choices: bool = False

    @property
    def answer(self) -> Message:
        """The message that is the answer: the first choice, or the last turn."""
        return self.messages[0 if self.are_choices else -1]


@dataclass(frozen=True, slots=True)
class Quantity:
    """One number, possibly with the interval in which it is expected."""

    value: float
    lower: float | None = None
    upper: float | None = None


@dataclass(frozen=True, slots=True)
class Outputs:
    """Several outputs of one model by name."""

    values: dict[str, float | str]


@dataclass(frozen=True, slots=True)
class Series:
    """Values in the order of time.

    The other columns are empty or have the same length, except ``before``, which has its
    own.
    """

    values: tuple[float, ...]
    times: tuple[str, ...] = ()
    lower: tuple[float, ...] = ()
    upper: tuple[float, ...] = ()
    before: tuple[float, ...] = ()  # the known values from which the forecast was made


Content = Entities | Text | Quantity | Outputs | Series


@dataclass(frozen=True, slots=True)
class Deconstructed:
    """A parsed answer.

    ``understood`` without detections means that the model ran and found nothing.
    ``content`` holds the rest of answers that labels do not fully express. A ranking's
    items are labels, the best first. For a task whose answer is one class
    (``is_one_class``) the detections are the distribution.
    """

    kind: Kind = Kind.NOT_UNDERSTOOD
    detections: list[Detection] = field(default_factory=list)
    embedding: list[float] | None = None
    understood: bool = False
    warnings: list[str] = field(default_factory=list)
    content: Content | None = None
    is_one_class: bool = False

    @property
    def meant(self) -> list[Detection]:
        """The detections that are the answer.

        Of a distribution that is the best class (the first of equals); of everything else
        all of them.
        """
        if not self.is_one_class or not self.detections:
            return self.detections
        return [max(self.detections, key=_rank)]

    @property
    def pairs(self) -> list[tuple[str, float | None]] | None:
        """Labels with scores, as rows store them; None where the model looked for no labels."""
        if not self.understood or not (self.kind.has_labels or self.detections):
            return None
        return [(detection.label, detection.score) for detection in self.detections]

    @classmethod
    def of(
        cls,
        kind: Kind,
        rows: Sequence[Any],
        read: Callable[[Any], Detection | None],
        limit: int,
    ) -> Deconstructed:
        """Return the detections that could be read of the first ``limit`` rows.

        Warnings count the rows that were left out.
        """
        first, warnings = cut(rows, limit)
        detections = [found for row in first if (found := read(row)) is not None]
        if left_out := len(first) - len(detections):
            warnings.append(
                f"{left_out} of {len(first)} detections were left out: "
                "a number is not finite, or a part is missing."
            )
        return cls(kind, detections, understood=True, warnings=warnings)


def _rank(one: Detection) -> float:
    """Return the score in four bytes, as rows store it: what is equal there is equal here."""
    if one.score is None:
        return -math.inf
    held: float = REAL.unpack(REAL.pack(one.score))[0]
    return held


def cut(rows: Sequence[T], limit: int) -> tuple[Sequence[T], list[str]]:
    """Return the first ``limit`` rows, and a warning if there were more."""
    if len(rows) <= limit:
        return rows, []
    return rows[:limit], [f"Of {len(rows)} detections the first {limit} were kept."]
