"""Answers for pages: detections, class bars, an embedding, text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from inferences.models import Inference, RegisteredModel
from inferences.predictions.geometry import Outline, is_upright_already, outlines
from inferences.predictions.parse import AnswerSettings, deconstructed
from inferences.predictions.parsers import Detection, Kind
from inferences.predictions.parsers.values import Content, Shape
from inferences.previews.pictures import Measure
from inferences.store.answer_text import answer_text
from inferences.web.view_models.colours import Colours, colours_of
from inferences.web.view_models.matches import DetectionTest
from inferences.web.view_models.signed_bars import Bars, bars
from inferences.web.view_models.verdicts import Verdict

EXCERPT_CHARS = 320
CROWD = 4  # from this many on, names over a thumbnail hide too much of it
TAG_CHARS = 26
TAGS_MAX = 20
IN_CARD, IN_PAGE = (150, 95), (780, 530)  # pixels of a usual picture
HEIGHT = 19  # pixels of a name


@dataclass(frozen=True, slots=True)
class Tag:
    """The name over an outline; ``x`` is the outline's middle and ``y`` its top, in percent.

    How wide a picture is shown is not known here. A name that is shifted by the same share of its
    own width as it lies from the left edge is within every picture that is wider than the name,
    and over or beside its outline.
    """

    text: str
    x: float
    y: float
    width: int

    @property
    def shift_x(self) -> float:
        """Horizontal shift in pixels."""
        return round(-self.width * self.x / 100, 1)

    def shift_y(self, high: int) -> float:
        """Vertical shift in pixels: above the outline, if a picture so high has room there."""
        return -round(min(self.y * high / 100, HEIGHT), 1)

    def place(self, wide: int, high: int) -> tuple[float, float]:
        """Return its left and top edge in a picture of so many pixels."""
        left = self.x * wide / 100 + self.shift_x
        return left, self.y * high / 100 + self.shift_y(high)


@dataclass(frozen=True, slots=True)
class Found:
    """One item of an answer: a detection, a class or a ranked item."""

    row: int
    label: str
    score: float | None
    hue: int
    outline: Outline | None = None
    is_match: bool = True  # False if the query of the page asks for other detections
    most: float = 1.0  # the largest score; of a ranking that of its best item
    place: int = 0  # the number of the label within its model
    shape: Shape | None = None  # as the model wrote it
    verdict: Verdict | None = None  # where it was matched with a ground truth

    @property
    def step(self) -> int | None:
        """The score in hundredths, rounded down: the steps of the score slider."""
        if self.score is None:
            return None
        # Rounded before, because 100 * 0.29 is a little less than 29.
        return min(max(int(round(100 * self.score, 6)), 0), 100)

    @property
    def percent(self) -> float:
        """The score as the length of a bar in percent."""
        return round(min(max(100 * (self.score or 0) / self.most, 0), 100), 1)

    @property
    def tag(self) -> Tag | None:
        if self.outline is None:
            return None
        label = self.label
        label = label if len(label) <= TAG_CHARS else f"{label[: TAG_CHARS - 1]}…"
        text = label if self.score is None else f"{label} {self.score:.2f}"
        if self.verdict:
            text = f"{self.verdict.mark} {text}"
        box = self.outline
        middle = round((box.left + box.right) / 2, 2)
        return Tag(text, middle, box.top, width=round(len(text) * 6.7 + 10))


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of an inference; ``found`` is sorted by score, best first."""

    kind: Kind = Kind.NOT_UNDERSTOOD
    understood: bool = False
    found: list[Found] = field(default_factory=list)
    embedding: list[float] | None = None
    excerpt: str = ""
    content: Content | None = None
    is_marked: bool = False  # the query asked for some of the detections
    is_upright: bool = False  # shapes are for the picture after EXIF's rotation
    is_one_class: bool = False  # one class is the answer; found has all probabilities

    @property
    def nothing_found(self) -> bool:
        looked = self.understood and self.kind.has_labels
        return looked and not self.found and self.embedding is None

    @property
    def is_classes(self) -> bool:
        return bool(self.found) and self.kind.is_classes

    @property
    def drawn(self) -> list[Found]:
        """What is drawn over the picture, in drawing order.

        The best is last, so that it is on top; what the query asked for is above all others.
        """
        drawn = [each for each in reversed(self.found) if each.outline]
        return sorted(drawn, key=lambda each: each.is_match)

    @property
    def is_judged(self) -> bool:
        """Whether its shapes were matched with a ground truth."""
        return any(each.verdict for each in self.found)

    @property
    def matches(self) -> list[Found]:
        """What the query asked for; everything if it asked for no detections."""
        return [each for each in self.found if each.is_match]

    @property
    def others(self) -> int:
        """The number of detections that the query did not ask for."""
        return len(self.found) - len(self.matches)

    @property
    def tagged(self) -> list[Found]:
        """Items with a name over the thumbnail: if they are few, and without overlaps."""
        shown = self.matches if self.is_marked else self.found
        if sum(bool(each.outline) for each in shown) >= CROWD:
            return []
        return apart(shown, *IN_CARD)

    @property
    def tagged_large(self) -> list[Found]:
        shown = self.matches if self.is_marked else self.found
        return apart(shown[:TAGS_MAX], *IN_PAGE)

    @property
    def best(self) -> list[Found]:
        """The best three items; if one class is the answer, that one alone.

        The third gives way to an item that the query asked for.
        """
        if self.is_one_class:
            return self.found[:1]
        best = self.found[:3]
        if self.is_marked and not any(each.is_match for each in best):
            return [*best[:2], *self.matches[:1]]
        return best

    @property
    def groups(self) -> list[tuple[Found, int]]:
        """Each label of the matches once, as its best item, with the number of its items."""
        counts: dict[str, int] = {}
        first: dict[str, Found] = {}
        for match in self.matches:
            counts[match.label] = counts.get(match.label, 0) + 1
            first.setdefault(match.label, match)
        return [(each, counts[label]) for label, each in first.items()]

    @property
    def plot(self) -> Bars | None:
        return bars(self.embedding) if self.embedding else None


def apart(found: Sequence[Found], wide: int, high: int) -> list[Found]:
    """Return items whose tags do not overlap; of two that do, the better one. Best last.

    ``wide`` and ``high`` are the size of the picture in pixels.
    """
    placed: list[tuple[float, float, int]] = []
    kept = []
    for each in found:
        if (tag := each.tag) is None:
            continue
        left, top = tag.place(wide, high)
        if all(
            left + tag.width <= x or x + width <= left or abs(top - y) >= HEIGHT
            for x, y, width in placed
        ):
            placed.append((left, top, tag.width))
            kept.append(each)
    return kept[::-1]


def answer_of(
    model: RegisteredModel,
    inference: Inference,
    picture: Measure | None,
    most: int = 1000,
    from_blob: bool = False,
    test: DetectionTest | None = None,
) -> Answer:
    """Return the stored answer, parsed again. Never raises, whatever the answer holds."""
    text = text_of(inference) if from_blob else inference.payload.data
    return answer_of_text(model, text, picture, most, test)


def answer_of_text(
    model: RegisteredModel,
    text: str,
    picture: Measure | None = None,
    most: int = 1000,
    test: DetectionTest | None = None,
) -> Answer:
    """Return a parsed answer; ``test`` decides which detections the query asked for."""
    return answer_read_by(model, colours_of(model), text, picture, most, test)


def answer_read_by(
    settings: AnswerSettings,
    colours: Colours,
    text: str,
    picture: Measure | None = None,
    most: int = 1000,
    test: DetectionTest | None = None,
) -> Answer:
    """Return an answer that is parsed by these settings, which need not be those of a model."""
    parsed = deconstructed(settings, text)
    # In a query, label and score of a distribution mean those of its best class.
    best_class = parsed.meant[0] if parsed.is_one_class and parsed.meant else None

    def is_asked_for(one: Detection) -> bool:
        if test is None:
            return True
        return one is (best_class or one) and test(one.label, one.score)

    ordered = sorted(
        ((one, is_asked_for(one)) for one in parsed.detections),
        key=lambda row: -(row[0].score or 0),
    )
    if len(ordered) > most:
        # Matches come first, so that higher scores of others do not cut them off.
        ordered = sorted(ordered, key=lambda row: not row[1])[:most]
        ordered.sort(key=lambda row: -(row[0].score or 0))
    rows = [one for one, _ in ordered]
    shapes = [one.shape for one in rows]
    drawn = outlines(shapes, picture) if picture else [None] * len(rows)
    best = max((one.score or 0 for one in rows), default=0)
    full = best if parsed.kind is Kind.RANKING and best > 1 else 1.0
    found: list[Found] = []
    for (one, is_match), outline in zip(ordered, drawn, strict=True):
        place, hue = colours.of(one.label)
        row = len(found)
        found.append(
            Found(
                row,
                one.label,
                one.score,
                hue,
                outline,
                is_match,
                full,
                place,
                one.shape,
            )
        )
    plain = not found and parsed.embedding is None and parsed.content is None
    return Answer(
        parsed.kind,
        parsed.understood,
        found,
        parsed.embedding,
        text[:EXCERPT_CHARS] if plain else "",
        parsed.content,
        is_marked=test is not None and any(each.is_match for each in found),
        is_upright=picture is not None and is_upright_already(shapes, picture),
        is_one_class=parsed.is_one_class,
    )


def text_of(inference: Inference) -> str:
    """Return the answer as text; from its blob if it is too large for the row."""
    payload = inference.payload
    return answer_text(payload.data, payload.answer_storage_key, payload.notes)
