"""How many answers agreed with their ground truth lately, and how that share went."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection

from inferences.models import GroundTruth, RegisteredModel
from inferences.models.row_ids import first_id_at
from inferences.search.filters import InferenceFilter, TimeWindow, TruthFilter
from inferences.search.filters.intersection import all_of
from inferences.web.view_models.charts import MICROSECOND, list_address
from istore.web.plots import Plot, Point, line_plot

STEP = timedelta(days=5)
STEPS = 12
RECENT = 6  # of the steps: the last 30 days, which are compared with the 30 before


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of the answers of the last 30 days with ground truth, the share that agree with it.

    ``change`` is the difference to the 30 days before in percentage points, if they had some.
    ``trend`` is the share of each five days as a line, where at least two of these have some.
    """

    share: float
    number: int
    change: float | None
    trend: Plot | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """What was judged in one step of time."""

    start: datetime
    right: int = 0
    wrong: int = 0

    @property
    def number(self) -> int:
        return self.right + self.wrong

    @property
    def share(self) -> float:
        return self.right / self.number


# Read by the key (model_key, id), whose ids are moments.
BY_STEP = f"""
SELECT width_bucket(id, %(bounds)s::bigint[]), count(*) FILTER (WHERE agrees),
       count(*) FILTER (WHERE NOT agrees)
FROM {GroundTruth._meta.db_table}
WHERE model_key = %(model)s AND id >= %(first)s AND agrees IS NOT NULL GROUP BY 1
"""


def agreement_of(model: RegisteredModel) -> Agreement | None:
    """Return the agreement of the last 30 days; None if nothing was judged in them."""
    steps = _judged(model)
    recent, former = steps[-RECENT:], steps[:-RECENT]
    share, number = _share(recent)
    if share is None:
        return None
    before, _ = _share(former)
    change = None if before is None else 100 * (share - before)
    return Agreement(share, number, change, _trend(model, steps))


def _judged(model: RegisteredModel) -> list[Judged]:
    """Return the steps up to now, the oldest first."""
    now = datetime.now(UTC)
    starts = [now - STEP * number for number in range(STEPS, 0, -1)]
    bounds = [first_id_at(start) for start in starts]
    counts: dict[int, tuple[int, int]] = defaultdict(lambda: (0, 0))
    with connection.cursor() as cursor:
        asked: dict[str, Any] = {
            "model": model.pk,
            "bounds": bounds,
            "first": bounds[0],
        }
        cursor.execute(BY_STEP, asked)
        for place, right, wrong in cursor:
            counts[place - 1] = right, wrong
    return [Judged(start, *counts[number]) for number, start in enumerate(starts)]


def _share(steps: Sequence[Judged]) -> tuple[float | None, int]:
    number = sum(each.number for each in steps)
    return (sum(each.right for each in steps) / number if number else None), number


def _trend(model: RegisteredModel, steps: Sequence[Judged]) -> Plot | None:
    judged = [each for each in steps if each.number]
    if len(judged) < 2:
        return None
    points = [
        Point(
            each.start,
            each.share,
            [
                f"{each.start:%Y-%m-%d} and four days more",
                f"{100 * each.share:.1f} % agree",
                f"{each.number:,} with ground truth",
            ],
            _address(model, each),
        )
        for each in judged
    ]
    return line_plot(
        points,
        label=f"Agreement of {model} with its ground truth in the last 60 days",
        x_title="",
        y_title="",
        low=0.5 if min(each.share for each in judged) > 0.5 else 0.0,
        high=1.0,
        shape="strip",
    )


def _address(model: RegisteredModel, judged: Judged) -> str:
    window = TimeWindow(judged.start, judged.start + STEP - MICROSECOND)
    given = TruthFilter("given")
    return list_address(model, all_of([InferenceFilter(time_window=window), given]))
