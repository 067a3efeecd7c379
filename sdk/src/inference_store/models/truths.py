"""Ground truth of inferences, and the quality of answers compared with it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from inference_store.models.base import AnswerModel, RequestModel
from inference_store.models.filters import BaseInferenceFilter


class MetadataReference(RequestModel):
    """A reference to the inferences that have this value under this metadata key."""

    key: str
    value: str | int | float


class NewGroundTruth(RequestModel):
    """A ground truth, in the form that fits the model's task.

    ``labels`` (``label`` for one, with a ``score`` beside it if there is one), ``value``
    of a regression, ``values`` of several outputs, ``series`` of a forecast, ``boxes``,
    ``polygons``, ``entities``, ``relevance`` of ranked items, ``text``.
    """

    label: str | None = None
    labels: list[str] | None = None
    score: float | None = None
    value: float | None = None
    values: dict[str, float | str] | None = None
    series: list[float] | None = None
    boxes: list[dict[str, Any]] | None = None
    polygons: list[dict[str, Any]] | None = None
    entities: list[dict[str, Any]] | None = None
    relevance: dict[str, float] | None = None
    text: str | None = None


class NewActual(NewGroundTruth):
    """A ground truth and the inferences that it belongs to, named in one of three ways."""

    inference_id: str | None = None
    data_hash: str | None = None
    metadata: MetadataReference | None = None


class GroundTruth(AnswerModel):
    """The ground truth of an inference.

    ``agrees`` is whether the answer agrees with it; None if that cannot be decided, and
    ``reason`` says why. ``state`` is ``joined``, or ``waiting`` until the inference arrives.
    """

    inference_id: str
    state: str
    ground_truth: dict[str, Any]
    agrees: bool | None = None
    reason: str | None = None
    actor: str | None = None
    set_at: datetime | None = None


class PendingGroundTruth(AnswerModel):
    """A ground truth that waits for its inference; ``awaited`` is what it will be joined by."""

    awaited: str
    ground_truth: dict[str, Any]
    actor: str | None = None
    set_at: datetime | None = None


class GroundTruthVersion(AnswerModel):
    """A ground truth and the time in which it was valid; the current one has no ``until``."""

    ground_truth: dict[str, Any]
    actor: str
    set_at: datetime
    replaced_by: str = ""
    until: datetime | None = None
    is_removal: bool = False


class Refusal(AnswerModel):
    """A refused ground truth, with the reason."""

    place: str
    why: str


class JoinedGroundTruth(AnswerModel):
    """The result of joining many ground truths.

    ``joined`` is the number of inferences that they name, and ``changed`` of these had none
    or another before. ``waiting`` ground truths have no inference yet, and ``removed`` ones name an
    inference that was removed. ``refusals`` are the first of the ``refused`` ones.
    """

    actuals: int = 0
    joined: int = 0
    changed: int = 0
    waiting: int = 0
    removed: int = 0
    refused: int = 0
    refusals: list[Refusal] = Field(default_factory=list)

    def __add__(self, other: JoinedGroundTruth) -> JoinedGroundTruth:
        counts = {
            name: getattr(self, name) + getattr(other, name)
            for name in JoinedGroundTruth.model_fields
        }
        return JoinedGroundTruth(**counts)


class GroundTruthCounts(AnswerModel):
    """The number of inferences with a ground truth, by verdict, and of ground truths that wait."""

    given: int
    agrees: int
    differs: int
    waiting: int


class NewQualityRequest(RequestModel):
    """Which inferences are measured, and how the figures are grouped.

    ``group_by`` is time, version, environment, batch, conversation or
    ``metadata.<key>``; ``interval``, for time, hour, day, week or month. ``form`` is one
    of ``NewGroundTruth``; without one it is that of most rows. ``threshold`` is the lowest
    score at which an answer counts as positive, ``label`` the label whose curve is returned.
    """

    filters: BaseInferenceFilter | None = None
    filter: dict[str, Any] | None = None
    query: str | None = None
    group_by: str | None = None
    interval: str | None = None
    form: str | None = None
    threshold: float | None = None
    label: str | None = None
    limit: int | None = None


class Confusion(AnswerModel):
    """A confusion matrix: how often each actual label (row) was answered as each (column)."""

    labels: list[str]
    counts: list[list[int]]
    left_out: int = 0


class QualityGroup(AnswerModel):
    group: str
    rows: int
    figures: dict[str, float | None]


class Quality(AnswerModel):
    """The figures of ``rows`` inferences.

    ``is_complete`` is False if more inferences have ground truth than were ``considered``.
    ``notes`` say what else was left out.
    """

    form: str | None = None
    rows: int
    considered: int
    is_complete: bool
    not_comparable: int = 0
    other_forms: dict[str, int] = Field(default_factory=dict)
    figures: dict[str, float | None]
    by_label: list[dict[str, Any]] = Field(default_factory=list)
    confusion: Confusion | None = None
    curve: list[tuple[float, float]] = Field(default_factory=list)
    curve_label: str = ""
    groups: list[QualityGroup] = Field(default_factory=list)
    groups_left_out: int = 0
    notes: list[str] = Field(default_factory=list)
