"""The activity of a model: its count, its newest inferences, their volume over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db import OperationalError

from inferences.maintenance import storage_by_model
from inferences.models import (
    Inference,
    InferenceKey,
    InferencePayload,
    RegisteredModel,
)
from inferences.models.row_ids import LOWEST, moment_of
from inferences.search.counting import Count as Counted
from inferences.search.counting import count_by_segments, count_matching
from inferences.search.filters import Filter, InferenceFilter
from inferences.store.reading import join_payloads
from inferences.web.view_models.agreement import Agreement, agreement_of
from inferences.web.view_models.inputs import NO_TEXT, Look, looks
from inferences.web.view_models.signed_bars import Bars, sparkline
from istore.db.statement_timeout import statement_timeout

AT_LEAST_SECONDS = 1.0
SAMPLE = 3000
BUCKETS = 36
NEWEST = 8
PICTURES = 4
WINDOWS = {
    timedelta(minutes=15): "15 minutes",
    timedelta(hours=1): "hour",
    timedelta(hours=6): "6 hours",
    timedelta(days=1): "24 hours",
    timedelta(days=7): "7 days",
    timedelta(days=30): "30 days",
    timedelta(days=365): "year",
}


@dataclass(frozen=True, slots=True)
class Activity:
    """The activity of a model, for its card and page."""

    count: Counted
    newest: Sequence[Inference]
    looks: dict[int, Look]
    volume: Bars | None
    window: str
    had_some: bool  # whether any was ever stored
    # The share of the newest SAMPLE that have a warning; None without one.
    warned: float | None
    agreement: Agreement | None

    @property
    def last_at(self) -> datetime | None:
        return self.newest[0].created_at if self.newest else None

    @property
    def is_tiny(self) -> bool:
        return any(self.looks[each.id].is_tiny for each in self.pictures)

    @property
    def pictures(self) -> list[Inference]:
        found = [each for each in self.newest if self.looks[each.id].picture]
        return found[:PICTURES]

    @property
    def newest_look(self) -> Look | None:
        seen = [self.looks[each.id] for each in self.newest]
        telling = (look for look in seen if not look.missing and look.text != NO_TEXT)
        return next(telling, (*seen, None)[0])


def activity(model: RegisteredModel) -> Activity:
    """Return the activity of a model, by small queries of bounded size."""
    live = model.inferences.live()
    newest = list(live.newest_first()[:NEWEST])
    join_payloads(model, newest)
    ids = list(live.newest_first().values_list("id", flat=True)[:SAMPLE])
    volume, window = _volume([moment_of(each) for each in ids])
    everything = InferenceFilter()
    told = count_by_segments(model, everything)
    count = Counted(told or 0)
    if told is None:
        count = count_matching(model, everything, settings.ISTORE_COUNT_AT_ONCE)
    keys = InferenceKey.objects.filter(registered_model=model)
    had_some = bool(newest) or keys.exists()
    return Activity(
        count,
        newest,
        looks(newest),
        volume,
        window,
        had_some,
        _warned(model, ids),
        agreement_of(model),
    )


def _warned(model: RegisteredModel, ids: Sequence[int]) -> float | None:
    """Return the share of the newest inferences that have a warning."""
    if not ids:
        return None
    # The partial index of payloads with warnings serves it.
    rows = InferencePayload.objects.beside(model).filter(notes__has_key="warnings")
    return rows.filter(id__gte=ids[-1]).count() / len(ids) or None


def _volume(moments: Sequence[datetime]) -> tuple[Bars | None, str]:
    """Return the sample in equal parts of the smallest window up to now that holds it."""
    if not moments:
        return None, ""
    now = datetime.now(UTC)
    passed = now - moments[-1]
    fitting = (each for each in WINDOWS if each >= passed)
    window = next(fitting, list(WINDOWS)[-1])
    counts = [0] * BUCKETS
    for moment in moments:
        place = int((moment - (now - window)) / window * BUCKETS)
        if 0 <= place < BUCKETS:
            counts[place] += 1
    return sparkline(counts), WINDOWS[window]


@dataclass(frozen=True, slots=True)
class Used:
    """The bytes of a model's inputs: counted now, last measured, or of its newest ones."""

    bytes: int
    is_exact: bool = True
    measured_at: datetime | None = None


def storage_used(model: RegisteredModel) -> Used:
    """Return the bytes of all inputs, of soft-deleted inferences too.

    Beyond ``ISTORE_COUNT_AT_ONCE`` inferences it is the last measurement, if there is one.
    """
    newest = model.inferences.newest_first().values_list("id", flat=True)
    beyond = newest[settings.ISTORE_COUNT_AT_ONCE :].first()
    if beyond is not None and (last := storage_by_model.measured(model)):
        return Used(last[0], measured_at=last[1])
    rows = model.inferences.filter(id__gt=LOWEST if beyond is None else beyond)
    _, size = storage_by_model.records_and_bytes(model, rows)
    return Used(size, is_exact=beyond is None)


def count_in_time(model: RegisteredModel, filters: Filter) -> Counted | None:
    """Return the exact number, if it is counted within ``ISTORE_QUERY_SECONDS``.

    Otherwise it says that there are more than ``ISTORE_COUNT_AT_ONCE``, or None if even that takes
    too long.
    """
    try:
        with statement_timeout():
            return count_matching(model, filters)
    except OperationalError:
        pass
    try:
        with statement_timeout(AT_LEAST_SECONDS):
            return count_matching(model, filters, settings.ISTORE_COUNT_AT_ONCE)
    except OperationalError:
        return None
