"""How segments come about, and how verify finds wrong ones."""

from __future__ import annotations

from itertools import pairwise

from inferences.maintenance import zone_map_checks
from inferences.models.zone_maps import Segment, SegmentTouch
from inferences.search.filters import And
from inferences.search.zone_maps import build
from inferences.store.recording import record
from inferences.tasks import seal_segments
from inferences.tests.zone_maps.builders import (
    counter,
    counting,
    findings,
    inference,
    names,
)
from istore.checks import verification


def test_segments_lie_beside_each_other_and_leave_the_newest_rows_out(model):
    counting(model, 100)

    seal_segments()

    segments = list(Segment.objects.order_by("highest_id"))
    assert segments[0].lowest_id == build.FIRST
    for before, after in pairwise(segments):
        assert after.lowest_id == before.highest_id + 1
    for each in segments:
        rows = model.inferences.filter(id__range=(each.lowest_id, each.highest_id))
        assert build.ROWS <= rows.count() <= 2 * build.ROWS
        numbers = sorted(rows.values_list("integer_1", flat=True))
        assert (each.integer_1_lowest, each.integer_1_highest) == (
            numbers[0],
            numbers[-1],
        )
        assert each.integer_2_lowest is None
    assert model.inferences.filter(id__gt=segments[-1].highest_id).count() == 2
    assert build.seal() == 0


def test_a_small_model_has_no_segments(model):
    counting(model, 12)

    assert build.seal() == 0
    assert not Segment.objects.exists()


def test_segments_are_added_when_enough_rows_have_come(model):
    counting(model, 30)
    build.seal()
    before = Segment.objects.count()

    record(model, [inference(f"more-{n}", 100 + n) for n in range(8)])
    assert build.seal() == 0
    record(model, [inference("one more", 200)])
    assert build.seal() == 1
    assert Segment.objects.count() == before + 1


def test_live_rows_touch_nothing_and_late_ones_their_segment(model):
    counting(model)
    build.seal()

    record(model, [inference("live", 500)])
    assert not SegmentTouch.objects.exists()
    record(model, [inference("late", 20.5), inference("live too", 501)])

    (touch,) = SegmentTouch.objects.all()
    late = model.inferences.get(inference_id="late")
    assert touch.lowest_id <= late.id <= touch.highest_id
    inside = model.inferences.filter(id__range=(touch.lowest_id, touch.highest_id))
    assert inside.count() <= 2 * build.ROWS


def test_hiding_protecting_and_restoring_touch_nothing(model):
    counting(model)
    build.seal()
    ids = list(model.inferences.order_by("id").values_list("id", flat=True)[:30])

    model.inferences.filter(id__in=ids).update(deleted=True)
    model.inferences.filter(id__in=ids).update(deleted=False, is_protected=True)

    assert not SegmentTouch.objects.exists()


def test_a_segment_that_was_filled_up_is_cut(model):
    counting(model)
    build.seal()
    before = Segment.objects.count()
    late = [
        inference(f"late-{n}", 20 + n / 100, {"counter": 7000 + n}) for n in range(90)
    ]

    record(model, late)
    assert len(names(model, counter(">=", 7000))) == 50
    build.seal()

    assert Segment.objects.count() > before + 5
    assert not SegmentTouch.objects.exists()
    assert names(model, counter(">=", 7088)) == ["late-89", "late-88"]


def test_where_retention_has_passed_one_segment_is_left(model):
    counting(model)
    build.seal()
    old = model.inferences.order_by("id")[70]
    model.inferences.filter(id__lt=old.id).delete()

    build.seal()

    segments = list(Segment.objects.order_by("highest_id"))
    assert segments[0].lowest_id == build.FIRST
    assert segments[0].highest_id >= old.id
    record(model, [inference("late", 3)])
    assert names(model, counter("<", 60)) == ["late"]


def test_a_run_that_ends_early_is_gone_on_with(model, monkeypatch):
    counting(model)
    monkeypatch.setattr(build, "RUN_SECONDS", -1)

    assert build.seal() == 1
    assert names(model, counter("<", 2)) == ["1", "0"]
    monkeypatch.setattr(build, "RUN_SECONDS", 50)
    assert build.seal() > 5


def test_verify_finds_bounds_that_are_wrong_and_has_them_built_again(model):
    counting(model)
    build.seal()
    assert findings() == []
    wrong = Segment.objects.order_by("highest_id")[4]
    Segment.objects.filter(highest_id=wrong.highest_id).update(
        integer_1_lowest=9000, integer_1_highest=9000
    )
    lost = names(model, And((counter(">=", 30), counter("<", 50))))

    assert findings() == ["segment-differs", "segment-group-miscounts"]
    assert findings(repair=True) == ["segment-differs"]

    assert findings() == []
    found = names(model, And((counter(">=", 30), counter("<", 50))))
    assert len(found) == 20 > len(lost)
    build.seal()
    assert not SegmentTouch.objects.exists()
    assert names(model, And((counter(">=", 30), counter("<", 50)))) == found


def test_verify_runs_the_check():
    assert verification.checks["segments"].look is zone_map_checks.segments
