"""What a model said, as pages show it: things found, class bars, an embedding, text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from inferences.models import Inference, InferenceAction, RegisteredModel
from inferences.predictions.geometry import Outline, is_upright_already, outlines
from inferences.predictions.parse import deconstructed
from inferences.predictions.parsers import Detection, Kind
from inferences.predictions.parsers.values import Content
from inferences.previews.pictures import Measure
from inferences.store.answer_text import answer_text
from inferences.web.view_models.colours import colours_of
from inferences.web.view_models.matches import DetectionTest
from inferences.web.view_models.plots import Bars, bars

EXCERPT_CHARS = 320
CROWD = 4  # from here on names over a thumbnail hide more than they tell
TAG_CHARS = 26
TAGS_MAX = 20
IN_CARD, IN_PAGE = (28, 9), (9, 3.2)


@dataclass(frozen=True, slots=True)
class Tag:
    """The name over an outline: where it stands in percent, and which way it runs."""

    text: str
    x: float
    y: float
    width: int
    at_end: bool
    inside: bool

    @property
    def shift_x(self) -> int:
        """In pixels: a name at the right end runs to the left."""
        return -self.width if self.at_end else 0

    @property
    def shift_y(self) -> int:
        """In pixels: a name at the top edge stands inside, all others above the outline."""
        return 2 if self.inside else -19


@dataclass(frozen=True, slots=True)
class Found:
    """One thing the model named."""

    row: int
    label: str
    score: float | None
    hue: int
    outline: Outline | None = None
    is_match: bool = True  # False: the question on the page asked for others
    most: float = 1.0  # of a score; those of a ranking have no end but the best

    @property
    def percent(self) -> float:
        """The score as the length of a bar."""
        return round(min(max(100 * (self.score or 0) / self.most, 0), 100), 1)

    @property
    def tag(self) -> Tag | None:
        if self.outline is None:
            return None
        label = self.label
        label = label if len(label) <= TAG_CHARS else f"{label[: TAG_CHARS - 1]}…"
        text = label if self.score is None else f"{label} {self.score:.2f}"
        box = self.outline
        at_end = box.left > 55
        return Tag(
            text,
            box.right if at_end else box.left,
            box.top,
            width=round(len(text) * 6.7 + 10),
            at_end=at_end,
            inside=box.top < 8,
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """``found`` by score, best first; ``nothing_found`` only when the model looked."""

    kind: Kind = Kind.NOT_UNDERSTOOD
    understood: bool = False
    found: list[Found] = field(default_factory=list)
    embedding: list[float] | None = None
    excerpt: str = ""
    content: Content | None = None
    is_marked: bool = False  # the question asked for some of what was found
    is_upright: bool = False  # its shapes lie over the picture as EXIF turns it
    is_one_class: bool = False  # and what was found is how sure the model is of each

    @property
    def nothing_found(self) -> bool:
        looked = self.understood and self.kind.has_labels
        return looked and not self.found and self.embedding is None

    @property
    def is_classes(self) -> bool:
        return bool(self.found) and self.kind.is_classes

    @property
    def drawn(self) -> list[Found]:
        """What is drawn over the picture; the best last, so that it lies on top, and
        what the question asked for above all others."""
        drawn = [each for each in reversed(self.found) if each.outline]
        return sorted(drawn, key=lambda each: each.is_match)

    @property
    def matches(self) -> list[Found]:
        """What the question asked for; everything where it asked for nothing such."""
        return [each for each in self.found if each.is_match]

    @property
    def others(self) -> int:
        """How many were found that the question did not ask for."""
        return len(self.found) - len(self.matches)

    @property
    def tagged(self) -> list[Found]:
        """Whose names stand over a thumbnail: of few, and none over another's."""
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
        """The first three, the last of which gives way to what was asked for; where one
        class is the answer, that one."""
        if self.is_one_class:
            return self.found[:1]
        best = self.found[:3]
        if self.is_marked and not any(each.is_match for each in best):
            return [*best[:2], *self.matches[:1]]
        return best

    @property
    def groups(self) -> list[tuple[Found, int]]:
        """Each label once, by its best, and how many there are of it, of what matches."""
        counts: dict[str, int] = {}
        first: dict[str, Found] = {}
        for each in self.matches:
            counts[each.label] = counts.get(each.label, 0) + 1
            first.setdefault(each.label, each)
        return [(each, counts[label]) for label, each in first.items()]

    @property
    def plot(self) -> Bars | None:
        return bars(self.embedding) if self.embedding else None


def apart(found: Sequence[Found], wide: float, high: float) -> list[Found]:
    """Those whose tags do not meet, the better of two; best last, to lie on top.

    ``wide`` and ``high`` are a tag's size in percent of the picture.
    """
    placed: list[tuple[float, float]] = []
    kept = []
    for each in found:
        if (tag := each.tag) is None:
            continue
        if all(abs(tag.x - x) > wide or abs(tag.y - y) > high for x, y in placed):
            placed.append((tag.x, tag.y))
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
    """The answer as it was stored, taken apart again. Never raises, whatever it says."""
    text = text_of(inference) if from_blob else inference.payload.data
    return answer_of_text(model, text, picture, most, test)


def answer_of_text(
    model: RegisteredModel,
    text: str,
    picture: Measure | None = None,
    most: int = 1000,
    test: DetectionTest | None = None,
) -> Answer:
    """What a model wrote, taken apart; ``test`` says what the question asked for."""
    said = deconstructed(model, text)
    # Label and score of a distribution are those of its best class.
    best_class = said.meant[0] if said.is_one_class and said.meant else None

    def is_asked_for(one: Detection) -> bool:
        if test is None:
            return True
        return one is (best_class or one) and test(one.label, one.score)

    ordered = sorted(
        ((one, is_asked_for(one)) for one in said.detections),
        key=lambda row: -(row[0].score or 0),
    )
    if len(ordered) > most:
        # What was asked for is not cut off by what scored higher.
        ordered = sorted(ordered, key=lambda row: not row[1])[:most]
        ordered.sort(key=lambda row: -(row[0].score or 0))
    rows = [one for one, _ in ordered]
    shapes = [one.shape for one in rows]
    drawn = outlines(shapes, picture) if picture else [None] * len(rows)
    best = max((one.score or 0 for one in rows), default=0)
    most = best if said.kind is Kind.RANKING and best > 1 else 1.0
    colour = colours_of(model)
    found = [
        Found(row, one.label, one.score, colour(one.label), outline, is_match, most)
        for row, ((one, is_match), outline) in enumerate(
            zip(ordered, drawn, strict=True)
        )
    ]
    plain = not found and said.embedding is None and said.content is None
    return Answer(
        said.kind,
        said.understood,
        found,
        said.embedding,
        text[:EXCERPT_CHARS] if plain else "",
        said.content,
        is_marked=test is not None and any(each.is_match for each in found),
        is_upright=picture is not None and is_upright_already(shapes, picture),
        is_one_class=said.is_one_class,
    )


def text_of(inference: Inference) -> str:
    """The answer as text, from its blob when the row has no room for it."""
    payload = inference.payload
    return answer_text(payload.data, payload.answer_storage_key, payload.notes)


ACTION_ICONS = {
    InferenceAction.DETECT: "detect",
    InferenceAction.EMBED: "embed",
    InferenceAction.PREDICT: "predict",
    InferenceAction.PREDICT_PROBA: "predict",
}
