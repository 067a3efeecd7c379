"""Counts add up segments and are those of the rows, whatever was written between."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import Counter
from dataclasses import replace
from functools import partial
from itertools import pairwise
from random import Random

import pytest
from django.db import connections, transaction
from django.http import QueryDict

from inferences.maintenance import zone_map_checks
from inferences.models import InferenceAction, RegisteredModel
from inferences.models.metadata_values import MetadataValue
from inferences.models.row_ids import first_id_at
from inferences.models.zone_maps import COUNTED, Segment, SegmentGroup, SegmentTouch
from inferences.real_numbers import as_real
from inferences.search import text
from inferences.search.counting import count_matching, scores_of, values_of, volume
from inferences.search.filters import matching
from inferences.search.statistics import StatisticsQuery, statistics
from inferences.search.zone_maps import build
from inferences.search.zone_maps.counts import SegmentSum
from inferences.search.zone_maps.tallies import SCORES
from inferences.store import metadata_edits, removal, soft_deletion
from inferences.store.recording import record
from inferences.tests.zone_maps.builders import EXAMPLES, at, counting, inference
from inferences.web.view_models import facets, sampling, summaries
from inferences.web.view_models.questions import Question
from istore.checks.verification import Scope
from istore.db.clock import now
from istore.models import Project

CAMERAS, LABELS, SOURCES = ("north", "south", "ß"), ("car", "truck"), ("quay", "gate")
QUESTIONS = [
    "*",
    "label:car",
    "label:[car, truck]",
    "label:car score>=0.5",
    "-label:car",
    "label:nothing",
    "score>=0.5",
    "score<0.3",
    "score>=0",
    "score>0.5",
    "-score<0.3",
    "score>=1",
    "score>=0.3 score<0.6",
    "score>=0.333",
    'meta.camera="north"',
    'meta.camera!="north"',
    'meta.camera in ["north", "ß"]',
    'meta.camera>="s"',
    '-meta.camera="north"',
    "meta.counter>=40",
    "meta.counter<7000 meta.counter>20",
    "meta.counter=40",
    "meta.counter!=40",
    "meta.lane=1",
    "meta.lane in [1, 2]",
    "meta.lane>1",
    "meta.level<=3.5",
    "meta.level<0",
    "meta.drift=0 label:car",
    "meta.drift>=0 -source:quay",
    "source:quay",
    "action:detect",
    "no:detections",
    "{window}",
    'meta.camera="north" {window}',
    "label:car {window}",
    'meta.camera="north" label:car',
    'meta.counter>=40 meta.camera="south"',
    "meta.counter>=40 source:quay no:detections",
    'label:car OR meta.camera="north"',
    'label:[car, truck] meta.camera="north"',
    "label:car source:quay meta.lane in [1, 2]",
    "label:car meta.lane>=1 score>=0.5",
    '(label:car) (label:truck) -meta.camera="north" {window}',
    '(label:car source:quay) OR -(meta.lane=1 OR meta.camera="south")',
    "-(label:car meta.lane=1)",
    "label:car (score<0.3 OR source:gate)",
    "meta.level<=3.5 label:car",
    'meta.note contains "x" meta.counter<30',
]


def window_of(chance: Random) -> str:
    low, high = sorted(chance.uniform(-5, 130) for _ in range(2))
    return f"since:{at(low):%Y-%m-%dT%H:%M:%SZ} until:{at(high):%Y-%m-%dT%H:%M:%SZ}"


def questions(chance: Random) -> list:
    window = window_of(chance)
    return [text.parse(each.format(window=window)) for each in QUESTIONS]


def row(chance: Random, name: str):
    second = chance.uniform(0, 120)
    metadata: dict[str, object] = {"counter": int(second), "level": second / 10}
    metadata["drift"] = chance.choice([0.0, -0.0, 1.5])
    if chance.random() < 0.9:
        metadata |= {"camera": chance.choice(CAMERAS), "lane": chance.randrange(3)}
    detections = None
    if chance.random() < 0.9:
        found = range(chance.randrange(4))
        detections = [
            (chance.choice(LABELS), round(chance.uniform(-0.1, 1.1), 1)) for _ in found
        ]
    return replace(
        inference(name, second, metadata),
        detections=detections,
        data_source=chance.choice([None, *SOURCES]),
        inference_action=chance.choice(list(InferenceAction)),
    )


def check(model: RegisteredModel, chance: Random) -> None:
    for filters in chance.sample(questions(chance), 20):
        expected = matching(model, filters).count()
        assert count_matching(model, filters).number == expected, str(filters)
        if chance.random() < 0.3:
            check_volume(model, filters, chance)
    for filters in (text.parse("*"), *chance.sample(questions(chance), 5)):
        for column in chance.sample(COUNTED, 5):
            check_values(model, filters, column)


def check_volume(model: RegisteredModel, filters, chance: Random) -> None:
    moments = sorted({at(chance.uniform(-10, 140)) for _ in range(6)})
    limits = [first_id_at(each) for each in moments]
    found = volume(model, filters, limits)
    rows = list(matching(model, filters).values_list("id", flat=True))
    expected = [
        sum(low <= row_id < high for row_id in rows) for low, high in pairwise(limits)
    ]
    assert found is None or found == expected, str(filters)


def check_values(model: RegisteredModel, filters, column: str) -> None:
    found = values_of(model, filters, column)
    expected: Counter[str] = Counter()
    for value in matching(model, filters).values_list(column, flat=True):
        if column == "scores":
            reals = map(as_real, value or ())
            expected.update(str(bisect_right(SCORES, score)) for score in reals)
        elif column == "labels":
            expected.update(map(str, set(value or ())))
        elif value is not None:
            expected[str(value + 0 if column.startswith("float") else value)] += 1
    if found is not None and column.startswith("float"):
        found = Counter({str(float(name)): number for name, number in found.items()})
    assert found is None or found == expected, f"{column} of {filters}"


def some(model: RegisteredModel, chance: Random, hidden: bool = False):
    ids = list(model.inferences.filter(deleted=hidden).values_list("id", flat=True))
    return chance.sample(ids, min(len(ids), chance.randrange(1, 12)))


def change(model: RegisteredModel, chance: Random, number: int) -> None:
    """Write, edit, hide, restore or remove some rows, or build segments."""

    def live():
        return model.inferences.live_among(some(model, chance))

    match chance.randrange(7):
        case 0:
            rows = [row(chance, f"{number}-{n}") for n in range(chance.randrange(1, 9))]
            record(model, rows)
        case 1:
            value = chance.choice(
                [
                    MetadataValue("camera", "string", chance.choice(CAMERAS)),
                    MetadataValue("counter", "int", str(chance.randrange(9000))),
                    MetadataValue("level", "float", str(chance.uniform(-9, 9))),
                ]
            )
            chosen = some(model, chance)
            among = partial(model.inferences.live_among, chosen)
            metadata_edits.put_values("test", model, among, [value], replace=True)
        case 2:
            with transaction.atomic():
                removal.hide_records(model, live())
        case 3:
            chosen = some(model, chance, hidden=True)

            def hidden():
                return soft_deletion.soft_deleted(model).filter(id__in=chosen)

            soft_deletion.restore("test", model, hidden)
        case 4:
            names = live().values_list("inference_id", flat=True)
            for name in list(names)[:3]:
                removal.remove_one("test", model, name)
        case 5:
            name = live().values_list("inference_id", flat=True).first()
            metadata_edits.remove_value("test", model, name, "camera")
        case 6:
            build.seal()


@pytest.mark.parametrize("seed", range(max(EXAMPLES // 12, 2)))
def test_counts_are_those_of_the_rows(model, seed):
    chance = Random(seed)
    record(model, [row(chance, str(number)) for number in range(100)])
    build.seal()
    assert Segment.objects.exclude(live=None).count() > 5
    check(model, chance)
    for number in range(8):
        for each in range(chance.randrange(1, 4)):
            change(model, chance, 10 * number + each)
        check(model, chance)


def test_a_count_reads_no_rows_of_whole_segments(model):
    record(model, [row(Random(1), str(number)) for number in range(100)])
    build.seal()
    SegmentGroup.objects.all().delete()
    segment = Segment.objects.order_by("highest_id")[3]

    Segment.objects.filter(highest_id=segment.highest_id).update(live=1000)
    number = count_matching(model, text.parse("*")).number
    assert number == 100 - segment.live + 1000

    SegmentTouch.objects.create(
        registered_model=model,
        lowest_id=segment.highest_id,
        highest_id=segment.highest_id,
    )
    assert count_matching(model, text.parse("*")).number == 100


def test_too_many_values_are_read(model, monkeypatch):
    many = [inference(str(n), n, {"camera": f"c{n}"}) for n in range(100)]
    record(model, many)
    monkeypatch.setattr(build, "ROWS", 2000)
    monkeypatch.setattr(build, "BUILD", build.BUILD.replace("<= 100", "<= 5"))
    build.seal()
    assert Segment.objects.filter(live__gt=0, string_1_counts__isnull=True).exists()

    assert count_matching(model, text.parse('meta.camera="c7"')).number == 1


def test_hiding_leaves_the_bounds_of_pages(model):
    counting(model)
    build.seal()
    removal.hide_records(model, model.inferences.live().filter(integer_1__lt=20))

    assert set(SegmentTouch.objects.values_list("keeps_bounds", flat=True)) == {True}


@pytest.mark.django_db(transaction=True)
def test_counts_beside_writers_and_builders_see_one_snapshot(transactional_db):
    """Rows are moved between two cameras: their number together never changes."""
    project = Project.objects.create(project_id="harbour")
    model = RegisteredModel.objects.create(
        model_id="kept", project=project, task_type="Object Detection"
    )
    rows = [inference(str(n), n, {"camera": "north", "counter": n}) for n in range(100)]
    record(model, rows)
    build.seal()
    done, failed = threading.Event(), []

    def repeat(act) -> None:
        chance = Random(1)
        try:
            while not done.is_set():
                act(chance)
        except Exception as error:
            failed.append(error)
        finally:
            connections.close_all()

    def swap(chance: Random) -> None:
        ids = some(model, chance)
        value = MetadataValue("camera", "string", chance.choice(("north", "south")))
        among = partial(model.inferences.live_among, ids)
        metadata_edits.put_values("test", model, among, [value], replace=True)

    acts = [swap, lambda _: build.seal()]
    threads = [threading.Thread(target=repeat, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    try:
        either = text.parse('meta.camera in ["north", "south"]')
        for _ in range(60):
            assert count_matching(model, either).number == 100
            assert not failed, failed
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert not failed, failed


def test_verify_names_a_wrong_summary_and_a_repair_has_its_rows_read(model):
    record(model, [row(Random(2), str(number)) for number in range(100)])
    build.seal()
    deep = replace(Scope(now()), deep=True)
    assert list(zone_map_checks.segments(deep)) == []
    model.inferences.filter(inference_id="20").update(string_1="elsewhere")
    Segment.objects.filter(highest_id=Segment.objects.first().highest_id).update(live=1)

    kinds = sorted(each.kind for each in zone_map_checks.segments(deep))
    assert kinds == ["segment-group-miscounts", *["segment-miscounts"] * 2]

    list(zone_map_checks.segments(replace(deep, repair=True)))
    check(model, Random(3))
    assert list(zone_map_checks.segments(deep)) == []
    build.seal()
    assert not SegmentTouch.objects.exists()
    assert list(zone_map_checks.segments(deep)) == []


@pytest.mark.parametrize("live", [-3, 9, 2**31 - 1])
def test_a_damaged_number_of_live_rows_breaks_no_count(model, live):
    """Bitmaps of another length than the stored number are not joined: the rows are read."""
    record(model, [row(Random(2), str(number)) for number in range(100)])
    build.seal()
    segment = Segment.objects.order_by("highest_id")[3]
    assert segment.live != live
    Segment.objects.filter(highest_id=segment.highest_id).update(live=live)

    for filters in questions(Random(5)):
        count_matching(model, filters)  # raises nothing
        values_of(model, filters, "labels")
    both = text.parse('label:[car, truck] meta.camera in ["north", "ß"]')
    assert count_matching(model, both).number == matching(model, both).count()
    check_values(model, both, "source_id")

    deep = replace(Scope(now(), repair=True), deep=True)
    found = [each.kind for each in zone_map_checks.segments(deep)]
    assert found == ["segment-miscounts"]
    check(model, Random(6))


def test_bitmaps_that_are_cut_are_read_instead(model):
    record(model, [row(Random(2), str(number)) for number in range(100)])
    build.seal()
    segment = Segment.objects.order_by("highest_id")[3]
    with connections["default"].cursor() as cursor:
        cursor.execute(
            f"UPDATE {Segment._meta.db_table} SET labels_bits = "
            "ARRAY(SELECT substring(each FOR 3) FROM unnest(labels_bits) AS each) "
            "WHERE highest_id = %s",
            [segment.highest_id],
        )
    both = text.parse('label:[car, truck] meta.camera in ["north", "ß"]')
    assert count_matching(model, both).number == matching(model, both).count()
    check_values(model, both, "labels")


@pytest.fixture
def sampled(model, monkeypatch):
    """A model of which the pages sample the newest five rows."""
    chance = Random(4)
    rows = [row(chance, str(number)) for number in range(100)]
    long = "x" * 600
    rows += [inference(f"long-{n}", 3 * n, {"note": f"{long}{n % 2}"}) for n in (1, 2)]
    record(model, rows)
    build.seal()
    for module in (sampling, facets, summaries):
        monkeypatch.setattr(module, "SAMPLE", 5, raising=False)
    monkeypatch.setattr(sampling.sample, "__defaults__", (sampling.COLUMNS, 5))
    monkeypatch.setattr(sampling.values_at, "__defaults__", (5,))
    monkeypatch.setattr("inferences.web.view_models.volume.COUNTED", 5)
    return model


def test_the_panel_counts_all_matches(sampled):
    question = Question(QueryDict(""))
    found = facets.count_facets(sampled, question)

    assert not found.sample.is_whole
    assert found.exact == ["labels", "sources", "actions"]
    for choice in found.labels:
        filters = text.parse(f"label:{choice.name}")
        assert choice.count == matching(sampled, filters).count()
    assert sum(choice.count for choice in found.actions) == 102
    assert not found.volume.is_estimate
    assert found.volume.total == 102
    key = facets.key_facet(sampled, question, "camera", "string")
    assert key.is_whole
    counts = {choice.name: choice.count for choice in key.choices}
    north = matching(sampled, text.parse('meta.camera="north"'))
    assert counts["north"] == north.count()


def test_statistics_of_texts_are_those_of_the_rows(sampled, monkeypatch):
    for key in ("camera", "note"):
        query = StatisticsQuery(key, "string")
        found = statistics(sampled, query)
        with monkeypatch.context() as patch:
            patch.setattr(SegmentSum, "tells", lambda self, share=0.5: False)
            assert statistics(sampled, query) == found
    everything = text.parse("*")
    labels = summaries.labels(sampled, everything)
    assert labels.is_whole
    cars = matching(sampled, text.parse("label:car")).count()
    assert labels.counts["car"] == cars
    assert summaries.of_key(sampled, everything, "camera", "string").is_whole


def test_scores_are_counted_in_bins_of_the_panel(model):
    parts = (0, 0.04, 0.5, 0.96, 1)
    rows = [
        replace(inference(str(n), n), detections=[("car", parts[n % len(parts)])])
        for n in range(100)
    ]
    record(model, rows)
    build.seal()

    counts = scores_of(model, text.parse("*"), 25)
    assert counts == [20, 20, *[0] * 10, 20, *[0] * 11, 40]

    record(model, [replace(inference("more", 200), detections=[("car", 1.5)])])
    assert scores_of(model, text.parse("*"), 25) is None
