"""Ranges of numbers with many values: buckets count them as the rows do."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from random import Random

import pytest
from django.db import connection

from inferences.erasure.running import erase
from inferences.maintenance import zone_map_checks
from inferences.models import RegisteredModel
from inferences.models.zone_maps import Segment, SegmentGroup, SegmentTouch
from inferences.search import text
from inferences.search.conditions import conditions_of
from inferences.search.counting import count_matching
from inferences.search.filters import matching
from inferences.search.zone_maps import build, counts, groups
from inferences.store import removal, segment_touches
from inferences.store.recording import record
from inferences.tests.erasure_builders import open_task
from inferences.tests.zone_maps.builders import inference
from inferences.tests.zone_maps.test_counts_over_segments import check_volume
from istore.checks.verification import Scope
from istore.db.clock import now

ROWS = 500
HUGE = 2**53  # from here on doubles do not hold every whole number
DRAWS = {
    "even": lambda chance: chance.randrange(10_000),
    "ties": lambda chance: 7 if chance.random() < 0.3 else chance.randrange(500),
    "skewed": lambda chance: int(10 ** chance.uniform(0, 9)) - 5,
    "huge": lambda chance: HUGE * chance.choice((-1, 1)) + chance.randrange(400),
    "same": lambda chance: 3,
}


@pytest.fixture(autouse=True)
def middling(monkeypatch):
    """Segments of so many rows that their numbers are not counted one by one."""
    monkeypatch.setattr(build, "ROWS", 110)
    monkeypatch.setattr(groups, "SIZE", 2)
    monkeypatch.setattr(counts, "SHARE_LEAST", 0)


def fill(model: RegisteredModel, chance: Random, draw) -> None:
    def metadata() -> dict[str, object]:
        number = draw(chance)
        values: dict[str, object] = {"counter": number, "level": number / 8}
        return values if chance.random() < 0.95 else {"level": values["level"]}

    record(model, [inference(str(n), n / 10, metadata()) for n in range(ROWS)])


def write_directly(model: RegisteredModel, values: list[float]) -> None:
    """Store doubles that no client can send."""
    ids = list(model.inferences.live().values_list("id", flat=True))
    with connection.cursor() as cursor:
        for number, value in enumerate(values):
            cursor.execute(
                "UPDATE inferences_inference SET float_1 = %s WHERE model_key = %s AND id = %s",
                [value, model.pk, ids[13 * number]],
            )
    segment_touches.touch(model, ids, keep_bounds=False)


def ranges(model: RegisteredModel, chance: Random) -> list[str]:
    """Return ranges whose ends are values, beside values, and far off."""
    found = []
    for slot, key in (("integer_1", "counter"), ("float_1", "level")):
        values = [
            each
            for each in model.inferences.values_list(slot, flat=True)
            if each is not None and abs(each) < 1e300
        ]
        ends = [*chance.sample(values, 6), min(values), max(values)]
        step = 1 if slot == "integer_1" else 0.01
        ends += [min(values) - step, max(values) + step, ends[0] + step, ends[1] - step]
        for end in ends:
            sign = chance.choice((">", ">=", "<", "<="))
            found.append(f"meta.{key}:{'int' if step == 1 else 'float'}{sign}{end}")
        for _ in range(4):
            low, high = chance.sample(ends, 2)
            kind = "int" if step == 1 else "float"
            found.append(
                f"meta.{key}:{kind}{chance.choice(('>', '>='))}{low} "
                f"meta.{key}:{kind}{chance.choice(('<', '<='))}{high}"
            )
    return found


def check(model: RegisteredModel, chance: Random, *, by_buckets: bool = True) -> None:
    for each in ranges(model, chance):
        filters = text.parse(each)
        assert (
            count_matching(model, filters).number == matching(model, filters).count()
        ), each
        if by_buckets and " " not in each:
            asked = conditions_of(model, filters)
            assert asked is None or asked.segment_sum.tells_by_buckets()


@pytest.mark.parametrize("name", DRAWS)
def test_ranges_are_counted_as_rows_are(model, name):
    chance = Random(name)
    fill(model, chance, DRAWS[name])
    if name == "even":
        special = [float("nan"), float("inf"), float("-inf"), -0.0, 5e-324] * 3
        write_directly(model, special)
    build.seal()
    assert SegmentGroup.objects.count() >= 2
    assert Segment.objects.filter(integer_1_edges__isnull=False).exists() == (
        name != "same"
    )
    check(model, chance)
    for filters in (text.parse("*"), text.parse("meta.counter>5")):
        check_volume(model, filters, chance)

    removal.hide_records(
        model, model.inferences.live().filter(integer_1__lt=chance.randrange(200))
    )
    record(model, [inference(f"late-{n}", chance.uniform(0, 70)) for n in range(5)])
    check(model, chance, by_buckets=False)
    build.seal()
    check(model, chance)
    deep = replace(Scope(now()), deep=True)
    assert list(zone_map_checks.segments(deep)) == []


def test_a_range_reads_the_rows_of_one_bucket_alone(model):
    fill(model, Random(1), DRAWS["even"])
    build.seal()
    filters = text.parse("meta.counter:int>=5000")
    true = matching(model, filters).count()
    segment = Segment.objects.filter(integer_1_ranks__isnull=False).first()
    SegmentGroup.objects.all().delete()
    ranks = [rank - 5 for rank in segment.integer_1_ranks[:-1]]
    Segment.objects.filter(highest_id=segment.highest_id).update(
        integer_1_ranks=[*ranks, segment.integer_1_ranks[-1]]
    )
    assert count_matching(model, filters).number == true + 5

    deep = replace(Scope(now(), repair=True), deep=True)
    assert [each.kind for each in zone_map_checks.segments(deep)] == [
        "segment-miscounts"
    ]
    assert count_matching(model, filters).number == true


def test_few_rows_of_a_range_are_read_by_the_index(model, monkeypatch):
    monkeypatch.setattr(counts, "SHARE_LEAST", 0.05)
    fill(model, Random(1), DRAWS["even"])
    build.seal()

    def tells(query: str) -> bool:
        return conditions_of(model, text.parse(query)).segment_sum.tells_by_buckets()

    assert tells("meta.counter:int>=5000")
    assert not tells("meta.counter:int>=9700")
    assert not tells("meta.counter:int>=5000 meta.level:float>=1")
    assert tells("meta.counter:int>=5000 since:2025-06-01")


def test_ends_beyond_all_numbers_are_counted(model):
    fill(model, Random(5), DRAWS["ties"])
    build.seal()
    ends = ["9" * 30, "-" + "9" * 30, str(2**63 - 1), str(-(2**63))]
    signs = ("<", "<=", ">", ">=")
    for type_, sign, end in product((":int", ":float", ""), signs, ends):
        try:
            filters = text.parse(f"meta.counter{type_}{sign}{end}")
        except text.TextQueryError:
            continue
        expected = matching(model, filters).count()
        found = count_matching(model, filters).number
        assert found == expected, (type_, sign, end)


def test_verify_names_a_wrong_group_and_a_repair_deletes_it(model):
    fill(model, Random(2), DRAWS["even"])
    build.seal()
    everything, number = text.parse("*"), SegmentGroup.objects.count()
    group = SegmentGroup.objects.order_by("highest_id").first()
    SegmentGroup.objects.filter(highest_id=group.highest_id).update(live=group.live + 9)
    assert count_matching(model, everything).number == ROWS + 9

    deep = replace(Scope(now(), repair=True), deep=True)
    found = [each.kind for each in zone_map_checks.segments(deep)]
    assert found == ["segment-group-miscounts"]
    assert count_matching(model, everything).number == ROWS
    build.seal()
    assert SegmentGroup.objects.count() == number


def test_segments_with_impossible_numbers_are_in_no_group(model):
    fill(model, Random(6), DRAWS["even"])
    build.seal()
    Segment.objects.update(live=2**31 - 1)

    deep = replace(Scope(now()), deep=True)
    found = {each.kind for each in zone_map_checks.segments(deep)}
    assert found == {"segment-miscounts", "segment-group-miscounts"}
    SegmentGroup.objects.all().delete()
    assert build.group_built() == 0


def test_a_group_goes_when_one_of_its_segments_is_built_anew(model):
    fill(model, Random(3), DRAWS["even"])
    build.seal()
    before = set(SegmentGroup.objects.values_list("highest_id", flat=True))
    segment = Segment.objects.order_by("highest_id").first()
    SegmentTouch.objects.create(
        registered_model=model,
        lowest_id=segment.highest_id,
        highest_id=segment.highest_id,
    )
    with connection.cursor() as cursor:
        cursor.execute(groups.FREE, {"model": model.pk})
        free = len(cursor.fetchall())
    for _ in build.build_segments(model.pk, segment.highest_id):
        pass
    assert SegmentGroup.objects.count() == len(before) - 1
    with connection.cursor() as cursor:
        cursor.execute(groups.FREE, {"model": model.pk})
        assert len(cursor.fetchall()) == free + 2
    build.seal()
    assert set(SegmentGroup.objects.values_list("highest_id", flat=True)) == before


@pytest.mark.django_db(transaction=True)  # the moments of builds differ
def test_a_group_that_an_older_release_left_is_not_believed(model):
    fill(model, Random(6), DRAWS["even"])
    build.seal()
    left = SegmentGroup.objects.order_by("highest_id").first()
    some = model.inferences.filter(id__lte=left.highest_id).order_by("-id")[:9]
    ids = list(some.values_list("id", flat=True))
    model.inferences.filter(id__in=ids).delete()
    segment_touches.touch(model, ids, keep_bounds=False)
    for _ in build.build_segments(model.pk, left.highest_id):
        pass
    SegmentGroup.objects.bulk_create([left])  # its builder knew nothing of it

    check(model, Random(6), by_buckets=False)
    assert count_matching(model, text.parse("")).number == ROWS - 9
    assert build.group_built() == 1
    made = SegmentGroup.objects.get(highest_id=left.highest_id)
    assert made.live == left.live - 9


def test_the_group_behind_removed_ones_is_made_again_from_the_first_id(model):
    fill(model, Random(5), DRAWS["even"])
    build.seal()
    number = SegmentGroup.objects.count()
    group = SegmentGroup.objects.order_by("highest_id").first()
    with connection.cursor() as cursor:
        cursor.execute(
            f"DELETE FROM {build.ROW} WHERE model_key = %s AND id <= %s",
            [model.pk, group.highest_id],
        )

    build.seal()
    assert list(zone_map_checks.segments(replace(Scope(now()), deep=True))) == []
    assert SegmentGroup.objects.count() == number - 1
    assert SegmentGroup.objects.order_by("highest_id").first().lowest_id == build.FIRST


def test_numbers_that_are_edges_are_erased(project, model):
    fill(model, Random(4), DRAWS["even"])
    build.seal()
    segment = Segment.objects.filter(integer_1_edges__isnull=False).first()
    edge = segment.integer_1_edges[30]

    erase(open_task(project, key="counter", type="int", value=str(edge)))
    assert not SegmentGroup.objects.exists()
    build.seal()

    for table in (Segment, SegmentGroup):
        assert not table.objects.filter(integer_1_edges__contains=[edge]).exists()
    assert SegmentGroup.objects.exists()


def segments(*ends: int) -> list[tuple[int, int, bool, bool]]:
    return [(10 * end, 10 * end + 9, True, False) for end in ends]


def test_groups_are_full_but_before_another_one(monkeypatch):
    monkeypatch.setattr(groups, "SIZE", 4)
    found = list(groups._ranges(segments(*range(10))))
    assert found == [(0, 39), (40, 79)]
    bounded = segments(*range(5))
    bounded[-1] = (*bounded[-1][:3], True)
    assert list(groups._ranges([*bounded, *segments(9)])) == [(0, 19), (20, 49)]
    waiting = segments(*range(6))
    waiting[2] = (*waiting[2][:2], False, False)
    assert list(groups._ranges(waiting)) == []
