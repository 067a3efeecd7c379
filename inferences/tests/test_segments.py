"""Pages that pass over segments are the pages of the plain query, whatever was written."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random

import pytest
from django.db import connection, connections, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inferences.maintenance import zone_map_checks
from inferences.models import (
    InferenceAction,
    InferenceKey,
    InferencePayload,
    RegisteredModel,
)
from inferences.models.metadata_values import MetadataValue
from inferences.models.zone_maps import Segment, SegmentTouch
from inferences.search import planner
from inferences.search.conditions import conditions_of
from inferences.search.filters import And, MetadataFilter, Not, Or, TimeWindow, matching
from inferences.search.pagination import Pagination
from inferences.search.query import InferenceQuery
from inferences.search.zone_maps import build, pruning
from inferences.store import metadata_edits
from inferences.store.partitions import make_ahead
from inferences.store.recording import NewInference, record
from inferences.tasks import seal_segments
from istore.checks import verification
from istore.checks.verification import Scope
from istore.db.clock import now
from istore.models import Project

START = datetime(2025, 6, 1, tzinfo=UTC)
SECONDS = 400
EXAMPLES = int(os.environ.get("ISTORE_EXAMPLES", "150")) // 4


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Segments of a few rows, of models with few."""
    for name, number in (("ROWS", 8), ("OPEN", 2), ("LEAST", 12)):
        monkeypatch.setattr(build, name, number)


def at(second: float) -> datetime:
    return START + timedelta(seconds=second)


def inference(
    name: str, second: float, metadata: dict[str, object] | None = None
) -> NewInference:
    if metadata is None:
        metadata = {"counter": int(second), "level": second / 10}
    types = {int: "int", float: "float", str: "string"}
    return NewInference(
        inference_id=name,
        inference_action=InferenceAction.DETECT,
        data_hash=bytes(32),
        created_at=at(second),
        metadata=[
            MetadataValue(key, types[type(value)], str(value))
            for key, value in metadata.items()
        ],
    )


def counting(model: RegisteredModel, rows: int = 100) -> None:
    record(model, [inference(str(number), number) for number in range(rows)])


def counter(operator: str, value: int | str) -> MetadataFilter:
    return MetadataFilter("counter", "int", operator, str(value))


def names(
    model: RegisteredModel, filters: object, direction: str = "desc"
) -> list[str]:
    page = InferenceQuery(filters, Pagination(direction, 50)).page(model)
    return [each.inference_id for each in page.inferences]


def plain(model: RegisteredModel, filters: object, direction: str) -> list[str]:
    order = "id" if direction == "asc" else "-id"
    found = matching(model, filters).order_by(order)
    return list(found.values_list("inference_id", flat=True))


def findings(repair: bool = False) -> list[str]:
    return [each.kind for each in zone_map_checks.bounds(Scope(now(), repair=repair))]


# -- whatever happens


class Life:
    """Random writes to a model, and sealing between them."""

    def __init__(self, model: RegisteredModel, chance: Random) -> None:
        self.model, self.chance, self.stored = model, chance, 0

    def begin(self) -> None:
        for _ in range(3):
            self.add(rows=30)
        self.seal()

    def add(self, rows: int = 0) -> None:
        """New rows at the end, or late ones anywhere; most count with the time."""
        late, new = self.chance.random() < 0.5, []
        for _ in range(rows or self.chance.choice([1, 5, 40])):
            self.stored += 1
            second = self.chance.uniform(0, SECONDS) if late else SECONDS + self.stored
            new.append(inference(f"{self.stored}", second, self.metadata(second)))
        record(self.model, new)

    def metadata(self, second: float) -> dict[str, object]:
        wild = self.chance.random() < 0.05
        counted = self.chance.randrange(2 * SECONDS) if wild else int(second)
        found = {"counter": counted, "level": second / 10, "lane": counted % 3}
        for key in self.chance.sample(sorted(found), self.chance.choice([0, 0, 1, 3])):
            del found[key]
        return found

    def some(self) -> list[int]:
        ids = list(self.model.inferences.order_by("id").values_list("id", flat=True))
        first = self.chance.randrange(len(ids) or 1)
        return ids[first : first + self.chance.choice([1, 10, 30])]

    def change(self) -> None:
        ids, number = self.some(), self.chance.randrange(2 * SECONDS)
        value = self.chance.choice(
            [
                MetadataValue("counter", "int", str(number)),
                MetadataValue("level", "float", str(number / 7)),
                MetadataValue("lane", "int", str(number)),
            ]
        )
        metadata_edits.put_values(
            "test",
            self.model,
            lambda: self.model.inferences.live().filter(id__in=ids),
            [value],
            replace=True,
        )

    def forget(self) -> None:
        for row in self.model.inferences.filter(id__in=self.some()[:3]):
            metadata_edits.remove_value("test", self.model, row.inference_id, "counter")

    def hide(self) -> None:
        self.model.inferences.filter(id__in=self.some()).update(deleted=True)

    def restore(self) -> None:
        self.model.inferences.filter(id__in=self.some()).update(deleted=False)

    def remove(self) -> None:
        """For good; at times all that is old."""
        ids = self.some()
        if self.chance.random() < 0.3:
            old = self.model.inferences.filter(id__lte=max(ids, default=0))
            ids = list(old.values_list("id", flat=True))
        InferenceKey.objects.filter(
            registered_model=self.model, row_id__in=ids
        ).delete()
        InferencePayload.objects.beside(self.model).filter(id__in=ids).delete()
        self.model.inferences.filter(id__in=ids).delete()

    def seal(self) -> None:
        build.seal()

    def announce(self) -> None:
        build.announce_all()

    def build_one(self) -> None:
        last = Segment.objects.order_by("highest_id").last()
        if last:
            build._build_next(self.model.pk, last.highest_id)

    def range(self) -> object:
        """A range of one number or of several, alone or with what has no bounds."""
        low = self.chance.randrange(-10, 2 * SECONDS)
        high = low + self.chance.choice([0, 5, 50, 2 * SECONDS])
        ranges = [
            And((counter(">=", low), counter("<", high))),
            counter("<=", low),
            And(
                (
                    counter(">", low),
                    MetadataFilter("level", "float", "<", str(high / 9)),
                )
            ),
            Or((counter("<", low), counter(">", high))),
            counter("!=", low),
            counter("in", f"[{low}, {low + 3}, {high}]"),
            And((MetadataFilter("lane", "int", "=", "1"), counter("<", low))),
            And((Not(counter("=", low)), counter("<", high))),
            Not(counter("<", low)),
            And((Or((counter("<", low), MetadataFilter("lane", "int", "=", "2"))),)),
        ]
        found = self.chance.choice(ranges)
        if self.chance.random() < 0.3:
            begin = self.chance.uniform(0, SECONDS)
            window = TimeWindow(at(begin), at(begin + self.chance.uniform(0, 200)))
            found = And((found, window))
        return found


STEPS = [
    *["add", "add", "change", "forget", "hide", "restore", "remove"],
    *["seal", "seal", "announce", "build_one"],
]


@pytest.fixture
def ready(project):
    """A model whose keys have their slots: examples run within transactions."""
    model = RegisteredModel.objects.create(
        model_id="segments", project=project, task_type="Object Detection"
    )
    record(model, [inference("first", 0, {"counter": 0, "level": 0.0, "lane": 0})])
    return model


@contextmanager
def undone():
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


@given(
    steps=st.lists(st.sampled_from(STEPS), max_size=12),
    seed=st.integers(0, 2**32),
    walk=st.sampled_from([60, 300, 20_000]),
)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_pages_are_those_of_the_plain_query(ready, steps, seed, walk):
    with undone(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(planner, "SKIPPING_WALK", walk)
        patch.setattr(planner, "VERY_FEW", 0)
        patch.setattr(planner, "FEW", 0)
        patch.setattr(planner, "LONG_WALK", 10 * walk)
        life = Life(ready, Random(seed))
        life.begin()
        for step in steps:
            getattr(life, step)()
        assert not findings()
        ready.refresh_from_db()
        for _ in range(4):
            filters, direction = life.range(), life.chance.choice(["asc", "desc"])
            expected, cursor = plain(ready, filters, direction), None
            limit, found = life.chance.choice([1, 7, 50]), []
            for _ in range(5):
                asked = Pagination(direction, limit, cursor=cursor)
                page = InferenceQuery(filters, asked).page(ready)
                found += [each.inference_id for each in page.inferences]
                cursor = page.next
                assert found == expected[: len(found)], filters
                if cursor is None:
                    assert found == expected, filters
                    break
            offset = life.chance.choice([1, 9])
            asked = Pagination(direction, limit, offset)
            page = InferenceQuery(filters, asked).page(ready)
            here = [each.inference_id for each in page.inferences]
            assert here == expected[offset : offset + limit], filters


# -- what is passed over


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
    asked = conditions_of(model, filters)

    assert list(asked.ranges.values()) == ([] if told is None else [told])


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

    model.inferences.filter(inference_id="5").update(integer_1=7000)

    assert names(model, counter(">=", 7000)) == ["5"]
    assert SegmentTouch.objects.count() == 1


# -- how segments come about


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


# -- verify


def test_verify_finds_bounds_that_are_wrong_and_has_them_built_again(model):
    counting(model)
    build.seal()
    assert findings() == []
    wrong = Segment.objects.order_by("highest_id")[4]
    Segment.objects.filter(highest_id=wrong.highest_id).update(
        integer_1_lowest=9000, integer_1_highest=9000
    )
    lost = names(model, And((counter(">=", 30), counter("<", 50))))

    assert findings() == ["segment-differs"]
    assert findings(repair=True) == ["segment-differs"]

    assert findings() == []
    found = names(model, And((counter(">=", 30), counter("<", 50))))
    assert len(found) == 20 > len(lost)
    build.seal()
    assert not SegmentTouch.objects.exists()
    assert names(model, And((counter(">=", 30), counter("<", 50)))) == found


def test_verify_runs_the_check():
    assert verification.checks["segments"].look is zone_map_checks.bounds


# -- beside writers


@pytest.fixture
def kept(transactional_db):
    project = Project.objects.create(project_id="harbour")
    model = RegisteredModel.objects.create(
        model_id="kept", project=project, task_type="Object Detection"
    )
    counting(model)
    return model


class Writer(threading.Thread):
    """Writes in a transaction that stays open until it is told to commit."""

    def __init__(self, write) -> None:
        super().__init__()
        self.write, self.written = write, threading.Event()
        self.go_on, self.failed = threading.Event(), None

    def run(self) -> None:
        try:
            with transaction.atomic():
                self.write()
                self.written.set()
                assert self.go_on.wait(30)
        except Exception as error:
            self.failed = error
        finally:
            self.written.set()
            connections.close_all()

    @contextmanager
    def at_work(self):
        self.start()
        assert self.written.wait(30)
        try:
            yield
        finally:
            self.go_on.set()
            self.join()
        assert self.failed is None, self.failed


def late(model: RegisteredModel) -> None:
    record(model, [inference("late", 20.5, {"counter": 7000})])


def change(model: RegisteredModel) -> None:
    value = MetadataValue("counter", "int", "7000")
    metadata_edits.put_value("test", model, "20", value, replace=True)


WRITES = [(late, "late"), (change, "20")]


@pytest.mark.parametrize(("write", "name"), WRITES)
def test_a_writer_from_before_the_announcement_is_waited_for(
    kept, monkeypatch, write, name
):
    monkeypatch.setattr(build, "WAIT_SECONDS", 0.2)
    with Writer(lambda: write(kept)).at_work():
        assert build.seal() == 0
        assert not Segment.objects.exclude(built_at=None).exists()
        assert len(names(kept, counter("<", 7000))) == 50
    assert not SegmentTouch.objects.exists()  # the writer knew of no segment

    assert build.seal() > 5

    assert names(kept, counter(">=", 7000)) == [name]
    assert findings() == []


@pytest.mark.parametrize(("write", "name"), WRITES)
def test_a_writer_who_commits_after_the_build_leaves_a_touch(kept, write, name):
    build.announce_all()
    assert build.wait_for_writers()
    ((model_key, last),) = build._rows(build.ANNOUNCED)
    with Writer(lambda: write(kept)).at_work():
        assert len(list(build.built_segments(model_key, last))) > 5
        assert names(kept, counter(">=", 7000)) == []

    assert names(kept, counter(">=", 7000)) == [name]
    assert findings() == []
    assert build.seal() >= 1
    assert not SegmentTouch.objects.exists()
    assert names(kept, counter(">=", 7000)) == [name]


def test_a_writer_with_an_old_snapshot_names_what_it_wrote(kept):
    """One that looked before the announcement, and writes after the wait."""
    looked, write_now = threading.Event(), threading.Event()

    def write() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            cursor.execute("SELECT count(*) FROM inferences_segment")
        looked.set()
        assert write_now.wait(30)
        late(kept)
        kept.inferences.filter(inference_id="20").update(integer_1=7001)

    writer = Writer(write)
    writer.start()
    assert looked.wait(30)
    assert build.seal() > 5
    write_now.set()
    assert writer.written.wait(30)
    build.announce_all()
    writer.go_on.set()
    writer.join()

    assert writer.failed is None
    assert names(kept, counter(">=", 7000)) == ["late", "20"]
    build.seal()
    assert not SegmentTouch.objects.exists()
    assert names(kept, counter(">=", 7000)) == ["late", "20"]


def test_what_another_announced_meanwhile_is_not_built(model):
    counting(model)
    build.announce_all()

    assert list(build.built_segments(model.pk, build.FIRST)) == []
    record(model, [inference("late", 20.5)])
    assert list(build.built_segments(model.pk, build.FIRST)) == []

    assert build.seal() > 5


def test_two_do_not_build_at_once(kept):
    build.announce_all()
    ((model_key, last),) = build._rows(build.ANNOUNCED)

    with Writer(lambda: build._build_next(model_key, last)).at_work():
        assert list(build.built_segments(model_key, last)) == []

    assert len(list(build.built_segments(model_key, last))) > 5


def test_no_row_is_ever_lost_beside_writers_and_builders(kept):
    """Two who write late rows and change numbers, one who seals; all looked at meanwhile."""
    done, failed = threading.Event(), []

    def repeat(act) -> None:
        try:
            number = 0
            while not done.is_set():
                act(number)
                number += 1
        except Exception as error:
            failed.append(error)
        finally:
            connections.close_all()

    def writer(name: str):
        chance = Random(name)

        def act(number: int) -> None:
            ids = [f"{name}-{number}-{each}" for each in range(3)]
            value = chance.randrange(7000, 9000)
            rows = [
                inference(each, chance.uniform(0, 110), {"counter": value})
                for each in ids
            ]
            record(kept, rows)
            changed = MetadataValue("counter", "int", str(value))
            one = str(chance.randrange(100))
            metadata_edits.put_value("test", kept, one, changed, replace=True)

        return act

    acts = [writer("a"), writer("b"), lambda _: build.seal()]
    threads = [threading.Thread(target=repeat, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    try:
        for _ in range(40):
            assert findings() == []
            assert not failed, failed
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert not failed, failed
    build.seal()
    assert not SegmentTouch.objects.exists()
    for value in range(7000, 9000, 97):
        filters = And((counter(">=", value), counter("<", value + 97)))
        assert names(kept, filters) == plain(kept, filters, "desc")[:50]
