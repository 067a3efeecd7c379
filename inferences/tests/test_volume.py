"""Volume over time: counted while they are few, estimated by the same few reads beyond."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from django.http import QueryDict

from inferences.models import InferenceAction
from inferences.store.recording import NewInference, record
from inferences.web.view_models import volume as volumes
from inferences.web.view_models.histograms import histogram, limits_of
from inferences.web.view_models.questions import Question
from inferences.web.view_models.sampling import sample

pytestmark = pytest.mark.django_db
START = datetime(2025, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
WINDOW = "since=2025-06-01T00:00:00Z&until=2025-06-01T23:59:59.999999Z"


@pytest.fixture
def stored(model):
    """Inferences at these shares of a day."""

    def at(moments: list[float]) -> None:
        record(
            model,
            [
                NewInference(
                    inference_id=f"i-{number}",
                    inference_action=InferenceAction.DETECT,
                    data_hash=hashlib.sha256(b"").digest(),
                    created_at=START + share * DAY,
                )
                for number, share in enumerate(moments)
            ],
        )

    return at


def volume(model, query: str = WINDOW):
    question = Question(QueryDict(query))
    drawn = sample(model, question.filters, most=5)
    return volumes.volume(model, question, drawn)


def test_while_they_are_few_each_is_counted(model, stored):
    stored([0.001, 0.002, 0.25, 0.5, 0.5, 0.5, 0.999])

    found = volume(model)

    assert not found.is_estimate
    assert found.total == 7
    counts = [each.count for each in found.bins]
    assert (counts[0], counts[18], counts[36], counts[71]) == (2, 1, 3, 1)


def test_of_many_it_says_about_how_many(model, stored, monkeypatch):
    monkeypatch.setattr(volumes, "COUNTED", 100)
    monkeypatch.setattr(volumes, "LOOKED_AT", 20)
    monkeypatch.setattr(volumes, "BUCKETS", 12)
    # Twice as dense in the second half of the day.
    stored([n / 4000 for n in range(2000)] + [0.5 + n / 8000 for n in range(4000)])

    found = volume(model)

    assert found.is_estimate
    assert found.total == pytest.approx(6000, rel=0.1)
    counts = [each.count for each in found.bins]
    assert sum(counts[:6]) == pytest.approx(2000, rel=0.1)
    assert sum(counts[6:]) == pytest.approx(4000, rel=0.1)


def test_of_a_burst_it_never_says_too_many(model, stored, monkeypatch):
    monkeypatch.setattr(volumes, "COUNTED", 100)
    monkeypatch.setattr(volumes, "LOOKED_AT", 10)
    stored([0.3 + n / 86_400_000 for n in range(300)] + [0.9])

    counts = [each.count for each in volume(model).bins]

    assert sum(counts) <= 301
    assert [n for n, count in enumerate(counts) if count] == [21, 64]
    assert counts[64] == 1


def test_where_what_is_looked_at_meets_it_is_exact(model, stored, monkeypatch):
    monkeypatch.setattr(volumes, "COUNTED", 10)
    stored([0.1] * 40 + [0.6 + n / 1000 for n in range(60)])

    counts = [each.count for each in volume(model).bins]

    assert sum(counts) == 100
    assert counts[7] == 40


def test_the_reads_do_not_grow_with_the_rows(model, stored, monkeypatch):
    monkeypatch.setattr(volumes, "COUNTED", 100)
    monkeypatch.setattr(volumes, "LOOKED_AT", 2)
    stored([n / 3000 for n in range(3000)])
    question = Question(QueryDict(WINDOW))

    limits = [volumes.first_id_at(START + n / 72 * DAY) for n in range(73)]
    assert volumes.counted(model, question.filters, limits) is None
    assert len(volumes._parts(limits)) == 72 * volumes.PARTS
    said = volume(model).total
    assert said == round(said, -1), "no more digits than are known"


def test_the_window_is_as_long_as_the_data(model, stored):
    stored([0.25, 0.3, 0.5])
    drawn = sample(model, Question(QueryDict("")).filters, most=5)
    since, until = volumes.window_of(model, Question(QueryDict("")), drawn)
    found = volumes.volume(model, Question(QueryDict("")), drawn)
    assert (until - since).total_seconds() == pytest.approx(0.25 * 86400, abs=1)
    assert (found.bins[0].count, found.bins[-1].count, found.total) == (1, 1, 3)


def test_a_window_that_is_asked_for_is_drawn_whole(model, stored):
    stored([0.25, 0.5])
    question = Question(QueryDict("since=1h"))
    drawn = sample(model, question.filters, most=5)
    since, until = volumes.window_of(model, question, drawn)
    assert 3590 < (until - since).total_seconds() < 3700


def test_compared_histograms_get_the_limits_of_both():
    few = histogram([0.1, 0.1, 0.9, 0.9], 0.0, 1.0, 2, True)
    many = histogram([0.1] * 75 + [0.9] * 25, 0.0, 1.0, 2, True)
    assert limits_of([few, many]) is None
    assert limits_of([few, histogram([2.0], 1.0, 3.0, 2, True)]) == (0.0, 3.0)
