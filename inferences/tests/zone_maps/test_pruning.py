"""Which segments a question passes over."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from inferences.models.metadata_values import MetadataValue
from inferences.models.zone_maps import SegmentTouch
from inferences.search import planner
from inferences.search.conditions import conditions_of
from inferences.search.filters import And, MetadataFilter, Not, Or, TimeWindow
from inferences.search.zone_maps import build, pruning
from inferences.store import metadata_edits
from inferences.store.partitions import make_ahead
from inferences.store.recording import record
from inferences.tests.zone_maps.builders import (
    START,
    at,
    counter,
    counting,
    inference,
    names,
    plain,
)
from istore.db.clock import now


@pytest.fixture
def by_segments_alone(monkeypatch):
    """Any other way to a page fails."""

    def not_taken(*_, **__):
        raise AssertionError("Another way was taken.")

    for way in ("_from_selective_index", "_index_scan", "_read"):
        monkeypatch.setattr(planner, way, not_taken)


@pytest.mark.parametrize("direction", ["asc", "desc"])
def test_a_range_of_a_counter_reads_the_segments_that_may_hold_it(
    model, monkeypatch, by_segments_alone, direction
):
    counting(model)
    build.seal()
    walked = []
    walk = planner._walk
    monkeypatch.setattr(
        planner, "_walk", lambda *given: walked.append(given[2]) or walk(*given)
    )
    filters = And((counter(">=", 40), counter("<", 45)))

    found = names(model, filters, direction)

    assert found == plain(model, filters, direction)
    assert len(found) == 5
    rows = sum(model.inferences.filter(id__range=stretch).count() for stretch in walked)
    assert rows <= 3 * 2 * build.ROWS  # of a hundred: two segments and the newest rows


def test_what_no_segment_holds_is_nothing(model, by_segments_alone):
    record(model, [inference(str(n), n, {"counter": n % 50}) for n in range(60)])
    build.seal()

    assert names(model, counter(">", 49)) == []
    assert names(model, MetadataFilter("counter", "int", "=", "-7")) == []


def test_rows_without_the_key_bound_nothing_and_their_segments_are_passed_over(
    model, by_segments_alone
):
    record(model, [inference("known", 0, {"counter": 5, "level": 0.5})])
    record(model, [inference(str(n), n, {"level": 0.5}) for n in range(1, 80)])
    build.seal()

    assert names(model, And((counter(">", 4), counter("<", 9)))) == ["known"]


@pytest.mark.parametrize(
    ("filters", "told"),
    [
        (counter("<", 5), (None, 5)),
        (counter(">=", 5), (5, None)),
        (counter("=", 5), (5, 5)),
        (counter("!=", 5), (None, None)),
        (counter("in", "[9, 3, 5]"), (3, 9)),
        (And((counter(">", 3), counter("<", 9), counter("<", 7))), (3, 7)),
        (Or((counter("=", 3), counter("=", 9))), (3, 9)),
        (Or((counter("<", 3), counter("=", 9))), (None, 9)),
        (Or((counter("<", 3), MetadataFilter("level", "float", "<", "1"))), None),
        (Not(counter("<", 3)), None),
        (counter("not in", "[1]"), (None, None)),
    ],
)
def test_ranges_are_read_from_what_is_asked(model, filters, told):
    counting(model, 3)
    request = conditions_of(model, filters)

    assert list(request.ranges.values()) == ([] if told is None else [told])


def test_a_filter_no_segment_knows_asks_nothing_of_them(model, monkeypatch):
    counting(model)
    build.seal()
    monkeypatch.setattr(pruning, "passed_over", None)

    assert len(names(model, TimeWindow(at(0), at(9)))) == 10


def test_beside_too_many_touches_nothing_is_passed_over(model, monkeypatch):
    counting(model)
    build.seal()
    for number in range(3):
        record(model, [inference(f"late-{number}", 20.5 + number / 10)])
    ranges, window = {"integer_1": (40, 45)}, pruning.ALL
    skips = pruning.passed_over(model.pk, ranges, window, newest_first=True)
    monkeypatch.setattr(pruning, "TOUCHES_MOST", 2)

    assert skips
    assert not pruning.passed_over(model.pk, ranges, window, newest_first=True)


def test_partitions_that_are_made_later_tell_of_changes_too(model):
    make_ahead(now() + timedelta(days=90))
    ahead = now() + timedelta(days=120)
    rows = [inference(str(n), n) for n in range(60)]
    record(
        model,
        [replace(each, created_at=ahead + (each.created_at - START)) for each in rows],
    )
    build.seal()

    value = MetadataValue("counter", "int", "7000")
    metadata_edits.put_value("test", model, "5", value, replace=True)

    assert names(model, counter(">=", 7000)) == ["5"]
    assert SegmentTouch.objects.count() == 1
