"""Plots: ticks are round and lie on the axis, bars are as high as their counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from istore.web.plots import BinEdges, Point, Series, bar_plot, line_plot
from istore.web.plots.ticks import number_text, number_ticks, time_ticks

START = datetime(2025, 6, 1, tzinfo=UTC)
NUMBERS = st.floats(-1e12, 1e12)
COUNTS = st.lists(st.integers(0, 10**9), min_size=1, max_size=72)


@given(NUMBERS, st.floats(1e-6, 1e12), st.integers(2, 8))
def test_ticks_of_numbers_are_few_in_order_and_on_the_axis(low, span, most):
    ticks = number_ticks(low, low + span, most)
    places = [each.at for each in ticks]
    assert len(ticks) <= most + 1
    assert places == sorted(set(places))
    assert all(-0.01 <= each <= 100.01 for each in places)


@pytest.mark.parametrize(
    ("low", "high", "texts"),
    [
        (0, 1, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (0, 10_000, ["0", "2k", "4k", "6k", "8k", "10k"]),
        (-2, 2, ["-2", "-1", "0", "1", "2"]),
        (0, 2_500_000, ["0", "500k", "1.0M", "1.5M", "2.0M", "2.5M"]),
        (0.001, 0.003, ["0.0010", "0.0015", "0.0020", "0.0025", "0.0030"]),
    ],
)
def test_ticks_of_numbers_say_what_they_stand_for(low, high, texts):
    assert [each.text for each in number_ticks(low, high)] == texts


@given(st.integers(0, 40), st.integers(1, 6))
def test_ticks_of_counts_are_whole(high, most):
    assert all("." not in t.text for t in number_ticks(0, high + 1, most, whole=True))


@given(
    st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),
    st.integers(1, 40 * 365 * 86_400),
)
def test_ticks_of_time_are_few_in_order_and_on_the_axis(low, seconds):
    ticks = time_ticks(low, low + timedelta(seconds=seconds))
    places = [each.at for each in ticks]
    assert len(ticks) <= 13
    assert places == sorted(set(places))
    assert all(0 <= each <= 100.001 for each in places)


def test_ticks_of_time_are_round_moments():
    day = time_ticks(START + timedelta(hours=5), START + timedelta(hours=29))
    assert [each.text for each in day] == ["06:00", "12:00", "18:00", "Jun 2"]
    year = time_ticks(START, START + timedelta(days=360))
    assert [each.text for each in year][:2] == ["Jul 2025", "Sep 2025"]


def test_numbers_far_from_one_have_an_exponent():
    assert number_text(1.5e-7) == "1.5e-07"
    assert number_text(3e14) == "3e+14"


@given(COUNTS)
def test_bars_are_as_high_as_their_counts_and_none_that_counts_is_hidden(counts):
    edges = BinEdges(list(range(len(counts) + 1)))
    plot = bar_plot(edges, [Series("a", counts, "s")], label="l", x_title="x")
    heights = [sum(s.height for s in mark.shapes) for mark in plot.marks]
    for count, height in zip(counts, heights, strict=True):
        assert (height > 0) == (count > 0)
        assert height <= 100
    for one, high in zip(counts, heights, strict=True):
        for other, low in zip(counts, heights, strict=True):
            assert one <= other or high >= low


def test_what_is_compared_is_drawn_as_shares_with_the_difference_below():
    edges = BinEdges([0.0, 0.5, 1.0])
    first, second = Series("A", [1, 3], "s"), Series("B", [50, 50], "t")
    plot = bar_plot(edges, [first, second], label="l", x_title="score")
    assert plot.y_title == "share"
    assert plot.marks[0].lines == ["0 to 0.5", "A: 1, 25.0 %", "B: 50, 50.0 %"]
    assert plot.below
    assert [each.lines[1] for each in plot.below.marks] == [
        "+25.0 points",
        "-25.0 points",
    ]


def test_stacked_parts_stand_upon_each_other():
    edges = BinEdges([0, 1, 2])
    parts = [Series("car", [2, 0], "s"), Series("bus", [1, 1], "t")]
    plot = bar_plot(edges, parts, label="l", x_title="x", is_stacked=True)
    low, high = plot.marks[0].shapes
    assert low.y == pytest.approx(high.y + high.height, abs=0.01)
    assert plot.marks[1].lines[1:] == ["bus: 1, 25.0 %"]


def test_now_is_marked_where_the_axis_reaches_it():
    series = [Series("a", [1, 2], "s")]
    edges = BinEdges([START + timedelta(hours=n) for n in range(3)])
    inside = bar_plot(
        edges, series, label="l", x_title="x", now=START + timedelta(hours=1)
    )
    assert inside.now and inside.now.at == 50
    later = bar_plot(
        edges, series, label="l", x_title="x", now=START + timedelta(days=1)
    )
    assert later.now is None


def test_moments_make_a_line_and_names_make_columns():
    moments = [Point(START + timedelta(days=n), 0.5, ["x"]) for n in range(3)]
    line = line_plot(moments, label="l", x_title="time", y_title="F1", high=1.0)
    assert line.paths and [each.shapes[0].style for each in line.marks] == ["dot"] * 3
    names = [Point(name, 0.5, [name]) for name in ("1.0", "2.0")]
    columns = line_plot(names, label="l", x_title="version", y_title="F1", high=1.0)
    assert not columns.paths
    assert [each.text for each in columns.x_ticks] == ["1.0", "2.0"]
