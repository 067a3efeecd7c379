"""The review of a list: where one inference lies in it, and the addresses around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from inferences.models import Inference, RegisteredModel
from inferences.models.ground_truth import GroundTruth
from inferences.store.lookup import row_ids_of
from inferences.store.reading import fetch
from inferences.web.view_models.drawing import classes_of
from inferences.web.view_models.inputs import may_be_picture
from inferences.web.view_models.neighbours import Surroundings, surroundings
from inferences.web.view_models.questions import Question

DEPTH = 1_000  # rows to each side; farther away the place in the list is not told
AROUND = 6  # frames of the film strip to each side
NAMED_MAX = 100  # inferences that an address may name
HOT_KEYS = 9


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is reviewed: the list of a question without ``skip``, or ``only`` these inferences."""

    question: Question
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()

    def address(self, page: str, at: str = "") -> str:
        """Return the address of the review, at one of its inferences."""
        parts = [self.question.context.removeprefix("?")]
        names = {"only": self.only, "skip": self.skip, "at": at or None}
        given = {name: value for name, value in names.items() if value}
        parts.append(urlencode(given, doseq=True))
        query = "&".join(filter(None, parts))
        return f"{page}?{query}" if query else page


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of the film strip."""

    inference_id: str
    address: str
    is_current: bool
    is_picture: bool
    is_reviewed: bool  # it has ground truth


@dataclass(frozen=True, slots=True)
class Review:
    """One inference under review: its place, its neighbours, and where saving leads."""

    here: str
    previous: str
    next: str
    place: int | None
    total: int | None
    film: list[Frame] = field(default_factory=list)
    classes: list[dict[str, Any]] = field(default_factory=list)

    @property
    def onward(self) -> str:
        """The address after saving: the next inference, or this one if it is the last."""
        return self.next or self.here

    @property
    def save(self) -> str:
        return "Save and go on" if self.next else "Save"


def review_of(
    model: RegisteredModel, inference: Inference, chosen: Chosen, page: str
) -> Review:
    """Return the review at one inference. ``page`` is its path."""
    around = (
        _among(model, inference, chosen.only)
        if chosen.only
        else _within(model, inference, chosen)
    )
    before, after = around.before[:AROUND], around.after[:AROUND]
    shown = {row.id: row for row in fetch(model, [*before, *after])}
    shown[inference.id] = inference

    def address(ids: Sequence[int]) -> str:
        row = next((shown[row_id] for row_id in ids if row_id in shown), None)
        return chosen.address(page, row.inference_id) if row else ""

    is_deep = len(around.before) >= DEPTH
    ids = [*before[::-1], inference.id, *after]
    return Review(
        here=chosen.address(page, inference.inference_id),
        previous=address(before),
        next=address(after),
        place=None if is_deep else len(around.before) + 1,
        total=len(around.before) + 1 + len(around.after) if around.is_whole else None,
        film=_film(
            model, inference, [shown[n] for n in ids if n in shown], chosen, page
        ),
        classes=classes_of(model)[:HOT_KEYS],
    )


def _within(
    model: RegisteredModel, inference: Inference, chosen: Chosen
) -> Surroundings:
    around = surroundings(model, inference, chosen.question, DEPTH)
    if not chosen.skip:
        return around
    skipped = set(row_ids_of(model, chosen.skip).values())
    return Surroundings(
        [row_id for row_id in around.before if row_id not in skipped],
        [row_id for row_id in around.after if row_id not in skipped],
        around.is_whole,
    )


def _among(
    model: RegisteredModel, inference: Inference, only: Sequence[str]
) -> Surroundings:
    """Return the neighbours among named inferences, in the order in which they are named."""
    ids: Mapping[str, int] = row_ids_of(model, only)
    rows = [ids[name] for name in only if name in ids]
    if inference.id not in rows:
        return Surroundings([], rows, True)
    at = rows.index(inference.id)
    return Surroundings(rows[:at][::-1], rows[at + 1 :], True)


def _film(
    model: RegisteredModel,
    inference: Inference,
    rows: Sequence[Inference],
    chosen: Chosen,
    page: str,
) -> list[Frame]:
    truths = GroundTruth.objects.beside(model).filter(id__in=[row.id for row in rows])
    reviewed = set(truths.values_list("id", flat=True))
    return [
        Frame(
            row.inference_id,
            chosen.address(page, row.inference_id),
            row.id == inference.id,
            bool(row.payload.input_key)
            and may_be_picture(row.payload.data_content_type),
            row.id in reviewed,
        )
        for row in rows
    ]
