"""Procedure P gives what the plain query gives, by whichever of its ways."""

from __future__ import annotations

import hashlib
import random
from datetime import UTC, datetime, timedelta

import pytest

from inferences.models import SLOTS, InferenceAction, LabelName
from inferences.search import planner
from inferences.search.conditions import conditions_of
from inferences.search.counting import count_matching
from inferences.search.filters import (
    And,
    DetectionFilter,
    GeoCircle,
    GeoPoint,
    GeoRectangle,
    HasKey,
    InferenceFilter,
    LocationFilter,
    MetadataFilter,
    Not,
    Or,
    TimeWindow,
    matching,
)
from inferences.search.filters.detections import as_real
from inferences.search.orders import detections_of
from inferences.search.pagination import Pagination
from inferences.search.query import InferenceQuery
from inferences.store.recording import NewInference, record
from inferences.tests.builders import typed

START = datetime(2025, 6, 1, tzinfo=UTC)
ROWS = 300
LABELS = ["ship", "boat", "Boat", "crane", "ünder"]


def inference(chance: random.Random, number: int) -> NewInference:
    metadata = {
        "counter": number,  # grows with time: the worst of what a walk can meet
        "lane": chance.randrange(4),
        "site": "old" if number < ROWS // 3 else chance.choice("abc"),
        "gain": round(chance.random(), 2),
        "beside": chance.randrange(20),
        "note": chance.choice(["x", "y"]),
        "pose": {"angle": chance.randrange(10), "site": chance.choice("pq")},
    }
    for key in chance.sample(sorted(metadata), chance.randrange(3)):
        del metadata[key]
    detections = [
        (chance.choice(LABELS), chance.choice([None, 0.9, round(chance.random(), 1)]))
        for _ in range(chance.randrange(4))
    ]
    place = {}
    if chance.random() < 0.7:
        place = {
            "latitude": chance.uniform(-89, 89),
            "longitude": chance.uniform(170, 180),
        }
    return NewInference(
        inference_id=str(number),
        inference_action=chance.choice(list(InferenceAction)[:2]),
        data_hash=hashlib.sha256(bytes([number % 7])).digest(),
        created_at=START + timedelta(seconds=number // 2),
        metadata=[typed(key, value) for key, value in metadata.items()],
        detections=None if chance.random() < 0.2 else detections,
        data_source=chance.choice([None, "quay", "roof"]),
        **place,
    )


def stored(model, seed: int) -> None:
    chance = random.Random(seed)
    # The slots of one type are taken, so that "beside" and "note" have side rows.
    taken = {f"key_{slot}": 0 for slot in SLOTS["integer"][:6]}
    taken |= {f"key_{slot}": "" for slot in SLOTS["string"][:6]}
    first = inference(chance, 0)
    order = ["counter", "lane", "site", "pose"]
    known = [
        typed(key, {"a": 1} if key == "pose" else 0 if key != "site" else "")
        for key in order
    ]
    record(
        model,
        [NewInference(**fields(first) | {"inference_id": "first", "metadata": known})],
    )
    more = [typed(key, value) for key, value in taken.items()]
    record(
        model,
        [NewInference(**fields(first) | {"inference_id": "second", "metadata": more})],
    )
    record(model, [inference(chance, number) for number in range(ROWS)])
    hidden = model.inferences.filter(
        inference_id__in=[str(n) for n in range(0, ROWS, 9)]
    )
    hidden.update(deleted=True)


def fields(new: NewInference) -> dict:
    return {name: getattr(new, name) for name in NewInference.__slots__}


def leaf(chance: random.Random) -> object:
    number = chance.randrange(ROWS)
    compared = [
        ("counter", "int", chance.choice(["<", ">=", "=", "!="]), str(number)),
        ("lane", "int", chance.choice(["=", "!=", "in"]), None),
        ("site", "string", chance.choice(["=", "!=", "<", "in"]), None),
        ("gain", "float", chance.choice(["<", ">"]), str(chance.random())),
        ("beside", "int", chance.choice(["=", "<", "!=", "in"]), None),
        ("note", "string", chance.choice(["=", "!="]), "x"),
        ("pose.angle", "json.int", chance.choice(["=", ">"]), "5"),
        ("pose.site", "json.string", "=", "p"),
        ("missing", "string", "=", "x"),
    ]
    key, type_, operator, value = chance.choice(compared)
    if value is None:
        one = (
            chance.choice(["old", "a", "b"])
            if key == "site"
            else str(chance.randrange(4))
        )
        value = f"[{one}, zz]" if operator == "in" and key == "site" else one
        value = f"[{one}, 3]" if operator == "in" and key != "site" else value
    low = chance.random()
    detections = [
        DetectionFilter((chance.choice(LABELS),)),
        DetectionFilter(("boat", "ship", "unknown")),
        DetectionFilter(("ship",), low),
        DetectionFilter(None, low),
        DetectionFilter(None, None, low),
        DetectionFilter(),
    ]
    places = [
        LocationFilter(GeoCircle(GeoPoint(chance.uniform(-80, 80), 175), 3e6)),
        LocationFilter(
            None, GeoRectangle(GeoPoint(-60, 174), GeoPoint(number % 60, 179))
        ),
    ]
    begin = START + timedelta(seconds=number // 2)
    end = begin + timedelta(seconds=chance.randrange(200))
    others = [
        InferenceFilter(inference_action=InferenceAction.DETECT),
        InferenceFilter(data_hash=hashlib.sha256(bytes([number % 7])).digest()),
        InferenceFilter(data_source=chance.choice(["quay", "nowhere"])),
        TimeWindow(begin, end),
        InferenceFilter(),
    ]
    metadata = MetadataFilter(key, type_, operator, value)
    kinds = [metadata, metadata, chance.choice(detections), chance.choice(places)]
    return chance.choice([*kinds, chance.choice(others)])


def some_filter(chance: random.Random, depth: int = 2) -> object:
    kind = chance.choice(["leaf", "leaf", "and", "and", "or", "not"])
    if kind == "leaf" or not depth:
        return leaf(chance)
    if kind == "not":
        return Not(some_filter(chance, depth - 1))
    parts = tuple(some_filter(chance, depth - 1) for _ in range(chance.choice([2, 3])))
    return And(parts) if kind == "and" else Or(parts)


@pytest.mark.parametrize(
    ("walk", "long_walk", "few", "chunks"),
    [(10, 20, 8, (8, 32)), (10, 20, 10_000, ()), (0, 0, 0, (400,)), (5000, 0, 50, ())],
)
def test_every_way_gives_the_rows_of_the_plain_query(
    model, monkeypatch, walk, long_walk, few, chunks
):
    stored(model, seed=walk + few)
    limits = {"WALK": walk, "LONG_WALK": long_walk, "FEW": few, "CHUNKS": chunks}
    limits["VERY_FEW"] = few // 2
    for name, value in limits.items():
        monkeypatch.setattr(planner, name, value)
    chance = random.Random(few)
    for _ in range(100):
        filters, limit = some_filter(chance), chance.choice([1, 3, 50])
        offset, direction = chance.choice([0, 0, 2, 70]), chance.choice(["asc", "desc"])
        plain = list(
            matching(model, filters)
            .order_by("id" if direction == "asc" else "-id")
            .values_list("inference_id", flat=True)
        )
        asked = Pagination(direction, limit, offset)
        page = InferenceQuery(filters, asked).page(model)

        found = [each.inference_id for each in page.inferences]
        assert found == plain[offset : offset + limit], filters
        assert bool(page.next) == (len(plain) > offset + limit), filters
        assert count_matching(model, filters).number == len(plain), filters
        capped = count_matching(model, filters, 5)
        assert capped.number == min(5, len(plain))
        assert capped.is_exact == (len(plain) <= 5)


@pytest.mark.parametrize(
    ("filters", "tables", "in_order", "others"),
    [
        (MetadataFilter("lane", "int", "=", "2"), ["inference"], True, 0),
        (MetadataFilter("lane", "int", "in", "[2, 3]"), ["inference"] * 2, True, 0),
        (MetadataFilter("lane", "int", "!=", "2"), ["inference"], False, 0),
        (MetadataFilter("beside", "int", "=", "2"), ["overflownumber"], True, 0),
        (MetadataFilter("beside", "int", "<", "2"), ["overflownumber"], False, 0),
        (MetadataFilter("note", "string", "=", "x"), ["inference"], True, 0),
        (DetectionFilter(("boat", "ship")), ["detection"] * 2, True, 0),
        (DetectionFilter(None, 0.5), ["inference"], False, 0),
        (InferenceFilter(data_source="quay"), ["inference"], True, 0),
        (LocationFilter(GeoCircle(GeoPoint(0, 175), 100)), ["inference"], False, 1),
        (
            Or(
                (
                    MetadataFilter("lane", "int", "=", "2"),
                    MetadataFilter("gain", "float", "<", "0.5"),
                )
            ),
            ["inference"] * 2,
            False,
            0,
        ),
        # Conditions whose SQL holds more than the test of an indexed column.
        (MetadataFilter("lane", "number", "=", "2"), ["inference"], True, 0),
        (MetadataFilter("pose.angle", "json.int", "=", "5"), ["inference"], True, 0),
        (HasKey("lane"), ["inference"], False, 0),
        (
            Or(
                (
                    MetadataFilter("lane", "int", "=", "2"),
                    MetadataFilter("missing", "string", "=", "x"),
                )
            ),
            ["inference"],
            True,
            0,
        ),
    ],
)
def test_a_filter_is_known_by_the_index_that_leads_to_it(
    model, filters, tables, in_order, others
):
    stored(model, seed=1)
    asked = conditions_of(model, filters)

    assert asked.others == others
    (path,) = asked.paths
    found = [branch.table.removeprefix("inferences_") for branch in path.branches]
    assert (found, path.in_order) == (tables, in_order)


@pytest.mark.parametrize(
    "filters",
    [
        Not(MetadataFilter("lane", "int", "=", "2")),
        Or(
            (
                MetadataFilter("lane", "int", "=", "2"),
                Not(MetadataFilter("lane", "int", "=", "3")),
            )
        ),
    ],
)
def test_no_index_leads_to_what_is_not(model, filters):
    stored(model, seed=1)

    asked = conditions_of(model, filters)

    assert not asked.paths
    assert asked.others == 1


def test_one_of_several_ranges_of_doubles(model):
    stored(model, seed=3)

    def gain(operator: str, value: float) -> MetadataFilter:
        return MetadataFilter("gain", "float", operator, str(value))

    filters = Or(
        (
            And((gain(">=", 0.1), gain("<", 0.2))),
            And((gain(">=", 0.6), gain("<", 0.65))),
        )
    )
    expected = matching(model, filters).order_by("id").values_list("inference_id")
    page = InferenceQuery(filters, Pagination("asc", 1000)).page(model)

    assert [(each.inference_id,) for each in page.inferences] == list(expected)
    assert page.inferences


def sorted_plainly(model, filters, sort, direction) -> list[str]:
    """What the order says, worked out row by row."""
    names = dict(LabelName.objects.values_list("id", "name"))
    wanted = detections_of(filters) or DetectionFilter()
    numbers = wanted.label_numbers(model)

    def passes(label, score) -> bool:
        if numbers is not None and label not in numbers:
            return False
        low, high = wanted.minimum_score, wanted.maximum_score
        if score is None:
            return low is None and high is None
        return (low is None or score >= as_real(low)) and (
            high is None or score <= as_real(high)
        )

    def rank(row):
        pairs = zip(row.labels or [], row.scores or [], strict=True)
        kept = [
            (label, score)
            for label, score in pairs
            if passes(label, score and as_real(score))
        ]
        scores = [score for _, score in kept if score is not None]
        if sort == "score":
            return max(scores, default=None)
        best = [label for label, score in kept if not scores or score == max(scores)]
        return names[best[0]] if best else None

    rows = sorted(matching(model, filters), key=lambda row: row.id)
    if sort == "created_at":
        last, ranked = rows, []
    else:
        last = [row for row in rows if rank(row) is None]
        ranked = sorted(
            (row for row in rows if rank(row) is not None),
            key=lambda row: (rank(row), row.id),
        )
    if direction == "desc":
        last, ranked = last[::-1], ranked[::-1]
    return [row.inference_id for row in ranked + last]


@pytest.mark.parametrize("direction", ["asc", "desc"])
@pytest.mark.parametrize("sort", ["created_at", "score", "label"])
def test_cursors_walk_every_order_once(model, monkeypatch, sort, direction):
    stored(model, seed=7)
    monkeypatch.setattr(planner, "WALK", 150)
    monkeypatch.setattr(planner, "LONG_WALK", 200)
    monkeypatch.setattr(planner, "VERY_FEW", 5)
    chance = random.Random(sort)
    labelled = [DetectionFilter(("ship", "boat")), DetectionFilter(None, 0.3)]
    others = [some_filter(chance) for _ in range(10)]
    for filters in [InferenceFilter(), *labelled, *others]:
        whole = InferenceQuery(filters, Pagination(direction, 1000, sort=sort)).page(
            model
        )
        found, cursor = [], None
        while True:
            asked = Pagination(direction, 23, cursor=cursor, sort=sort)
            page = InferenceQuery(filters, asked).page(model)
            found += [each.inference_id for each in page.inferences]
            cursor = page.next
            if not cursor:
                break
        plain = sorted_plainly(model, filters, sort, direction)
        assert found == plain
        by_offset = InferenceQuery(
            filters, Pagination(direction, 50, 40, sort=sort)
        ).page(model)

        assert found == [each.inference_id for each in whole.inferences]
        assert len(found) == matching(model, filters).count()
        assert [e.inference_id for e in by_offset.inferences] == found[40:90]
