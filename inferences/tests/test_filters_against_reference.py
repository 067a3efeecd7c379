"""Filters, trees, text queries and statistics against the reference in plain Python.

ISTORE_EXAMPLES=2000 asks more of them than the suite does.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datasets.models import Dataset, DatasetEntry
from inferences.api.metadata import StatisticsQuerySerializer
from inferences.ground_truth.joining import Actual, join
from inferences.ground_truth.references import Reference
from inferences.models import InferenceAction, RegisteredModel, TaskType
from inferences.models.metadata_values import MetadataValue
from inferences.search import text
from inferences.search.api.filter_serializers import InferenceQuerySerializer
from inferences.search.filters import matching
from inferences.search.filters.ground_truth import STATES
from inferences.search.filters.operands import write_list
from inferences.search.filters.tree import normal
from inferences.search.statistics import statistics
from inferences.search.url_parameters import parameters
from inferences.search.zone_maps import build
from inferences.store.recording import NewInference, record
from inferences.tests import reference
from inferences.tests.builders import as_before
from inferences.tests.reference import Record
from istore.models import Project

RECORDS = 60
DATASETS = ("hard cases", "other")
# Each a seed, for other records, in other slots. Of the last two one class is the answer;
# half of the last are as they were stored before it was told apart.
DETECTING, CLASSIFYING, HALFWAY = 1, 2, 3
STORES = (DETECTING, CLASSIFYING, HALFWAY)
EXAMPLES = int(os.environ.get("ISTORE_EXAMPLES", "150"))
LIST = "/api/v1/models/reference/inferences"
FILTER, COUNT = f"{LIST}/filter", f"{LIST}/count"

START = datetime(2025, 6, 1, tzinfo=UTC)
MOMENTS = [
    START + step * number
    for step in (timedelta(microseconds=1), timedelta(days=1))
    for number in range(RECORDS // 2)
]
MOMENTS += [datetime(1949, 1, 1, tzinfo=UTC), datetime(1969, 12, 31, tzinfo=UTC)]
LONG = "ü" * 300
TEXTS = [
    "",
    " ",
    "a",
    "A",
    "a b",
    " a",
    "a ",
    "ä",
    "e\u0301",
    "é",
    "Z",
    "😀",
    "\uffff",
    "%_\\",
    "a,b",
    "[x]",
    "NULL",
    "'\"",
    "10.5",
    "-7",
    "1e3",
    "0x10",
    "x" * 440,
    "x" * 441,
    "x" * 447 + "y",
    "x" * 512,
    "x" * 513,
    LONG,
    LONG + "a",
    LONG + "b",
    "ü" * 224,
    "ü" * 220 + "a" * 100 + "needle",
]
WHOLE = [0, 1, -1, 2, 10, 987, 2**53 - 1, 2**53, 2**53 + 1, 2**53 + 3, -(2**53) - 1]
WHOLE += [2**63 - 1, 2**63 - 2, -(2**63), 2**62 + 1]
REAL = [0.0, -0.0, 1.0, 10.5, 0.1, 0.1 + 0.2, 5e-324, -5e-324, 2.2e-308, 1e-5]
REAL += [
    1.5e308,
    -1.7976931348623157e308,
    2.0**53,
    2.0**53 + 2,
    1e16,
    3.602879701896397e16,
]
NUMBER_TEXTS = [
    "10.5",
    "7",
    "7.0",
    "+7",
    " 7",
    "1e3",
    "1e999",
    "1e-999",
    "1e99999",
    ".5",
]
NUMBER_TEXTS += ["9007199254740993", "0", "-0", "nan", "inf", "٣"]
KEYS = [
    "camera",
    "frame",
    "gain",
    "clé",
    "0",
    "a b",
    "x:y",
    "meta.z",
    "input",
    "model_version",
]
KEYS += [f"key {n}" for n in range(10)]
NUMERIC = [key for key in KEYS if key not in ("input", "model_version")]
PATHS = [
    "pose",
    "pose.angle",
    "pose.text",
    "pose.list.0",
    "pose.list.1",
    "pose.list.2.name",
]
PATHS += [
    "pose.deep.a.b",
    "pose.1",
    "pose.list.-1",
    "pose.list.01",
    "pose.",
    "box.0",
    "box",
]
PATHS += ["box.0.1", "pose.list", "pose.none"]
SOURCES = ["quay", " quay", "Quay", "ü" * 300, "ü" * 299 + "x"]
LABELS = ["ship", "boat", "Ship", "wet paint", 'q"', "l" * 600, "l" * 601]
SCORES = [0.0, 0.1, 0.3, 0.5, 0.9, 0.90000001, 1.0, -2.5, 1e-46, 3.4e38]
PLACES = [(0.0, 0.0), (51.95, 4.14), (51.95, 4.141), (90.0, 10.0), (-90.0, -170.0)]
PLACES += [
    (0.0, 180.0),
    (0.0, -180.0),
    (0.0, 179.9999),
    (1.0, -179.9999),
    (-33.9, 151.2),
]
PLACES += [(5e-324, -5e-324), (89.99, 0.0), (89.99, 180.0), (51.9500001, 4.14)]
HASHES = [hashlib.sha256(bytes([number])).hexdigest() for number in range(3)]


def leaf(random: Random) -> Any:
    return random.choice(
        [
            *random.sample(TEXTS, 3),
            *random.sample(NUMBER_TEXTS, 4),
            *random.sample(WHOLE, 3),
            *random.sample(REAL, 3),
            10**300,
            10**350,
            True,
            False,
            None,
            [],
            {},
        ]
    )


def json_value(random: Random) -> Any:
    if random.random() < 0.15:
        return leaf(random)
    pose = {name: leaf(random) for name in ("angle", "text", "none", "1", "", "a.b")}
    pose["list"] = random.choice(
        [
            [leaf(random), leaf(random), {"name": leaf(random)}],
            {"0": leaf(random), "-1": 5},
        ]
    )
    pose["list "] = {"01": leaf(random)}
    pose["deep"] = {"a": {"b": leaf(random)}, "a.b": leaf(random)}
    return random.choice([pose, [leaf(random), [leaf(random)]], [[1, 2]]])


def metadata(random: Random) -> dict[str, tuple[str, str]]:
    given = {}
    for key in random.sample(KEYS, random.randrange(len(KEYS))):
        kind = random.choice(["string", "string", "int", "float"])
        values = {"string": TEXTS, "int": WHOLE, "float": REAL}[kind]
        given[key] = (kind, str(random.choice(values)))
    for key in ("pose", "box", "pose.angle"):
        if random.random() < 0.8:
            given[key] = ("json", json.dumps(json_value(random)))
    return given


def records(seed: int) -> list[Record]:
    random = Random(seed)
    made = []
    for number, moment in enumerate(random.sample(MOMENTS, RECORDS)):
        place = random.choice([*PLACES, (None, None)])
        detections = [
            (random.choice(LABELS), random.choice([*SCORES, None]))
            for _ in range(random.randrange(4))
        ]
        made.append(
            Record(
                inference_id=f"{number}",
                created_at=moment,
                action=random.choice(InferenceAction.labels),
                data_hash=random.choice(HASHES),
                source=random.choice([*SOURCES, None]),
                metadata=metadata(random),
                latitude=place[0],
                longitude=place[1],
                detections=random.choice([detections, detections, None]),
                is_protected=random.random() < 0.3,
                has_input=random.random() < 0.5,
                has_warnings=number % 4 == 0,
                is_not_understood=number % 8 == 0,
                truth=random.choice([None, "ship", *(d[0] for d in detections)]),
                dataset=random.choice([None, None, *DATASETS]),
            )
        )
    return made


def one_class(record: Record) -> Record:
    """The same of a classifier: what was detected are its classes, the best the answer."""
    classes = record.detections
    if classes is None:
        return record
    return replace(
        record, distribution=classes, detections=reference.best_class(classes)
    )


def store(model: RegisteredModel, made: list[Record]) -> None:
    actions = dict(zip(InferenceAction.labels, InferenceAction, strict=True))
    record(
        model,
        [
            NewInference(
                inference_id=each.inference_id,
                inference_action=actions[each.action],
                data_hash=bytes.fromhex(each.data_hash),
                created_at=each.created_at,
                data_source=each.source,
                metadata=[
                    MetadataValue(k, t, v) for k, (t, v) in each.metadata.items()
                ],
                latitude=each.latitude,
                longitude=each.longitude,
                detections=each.distribution or each.detections,
                is_protected=each.is_protected,
                data_storage_key="key" if each.has_input else "",
                notes={
                    "warnings": ["cut"] if each.has_warnings else [],
                    **({"not_understood": True} if each.is_not_understood else {}),
                },
            )
            for each in made
        ],
    )


def tell_truths(model: RegisteredModel, made: list[Record]) -> None:
    join(
        "test",
        model,
        [
            Actual(
                Reference("inference_id", each.inference_id), {"labels": [each.truth]}
            )
            for each in made
            if each.truth is not None
        ],
    )


def add_to_datasets(model: RegisteredModel, made: list[Record]) -> None:
    for name in DATASETS:
        dataset, _ = Dataset.objects.get_or_create(project=model.project, name=name)
        source = dataset.sources.create(model_id=model.model_id)
        chosen = [each.inference_id for each in made if each.dataset == name]
        DatasetEntry.objects.bulk_create(
            DatasetEntry(
                dataset=dataset,
                source=source,
                model_id=model.model_id,
                inference_id=row.inference_id,
                row_id=row.pk,
                first_version=1,
                happened_at=row.created_at,
                inference_action=row.inference_action,
                data_hash=row.data_hash,
                data_size=row.data_size,
                content_hash=b"",
            )
            for row in model.inferences.filter(inference_id__in=chosen)
        )


@dataclass
class Store:
    model: RegisteredModel
    records: list[Record]


@pytest.fixture(params=STORES)
def filled(request, project: Project, monkeypatch) -> Iterator[Store]:
    made = records(request.param)
    model = RegisteredModel.objects.create(model_id="reference", project=project)
    if request.param != DETECTING:
        model.task_type = TaskType.TEXT_CLASSIFICATION
        model.save()
        made = [one_class(each) for each in made]
    neighbour = RegisteredModel.objects.create(model_id="neighbour", project=project)
    store(model, made)
    if request.param == HALFWAY:
        as_before(model, "[0-4]")
        assert model.awaits_classes
    tell_truths(model, made)
    add_to_datasets(model, made)
    store(neighbour, records(99))  # ids and keys of another model must not matter
    tell_truths(neighbour, records(99))
    add_to_datasets(neighbour, records(99))
    # Segments of four rows, so that ranges of numbers have something to pass over.
    for name, rows in (("ROWS", 4), ("OPEN", 2), ("LEAST", 10)):
        monkeypatch.setattr(build, name, rows)
    assert build.seal() > 10
    assert all(
        any(each.metadata.get(key, ("",))[0] in ("int", "float") for each in made)
        for key in NUMERIC
    )
    return Store(model, made)


# What is asked


LITERALS = ["2.5", "-0.5", "9007199254740993.5", "9223372036854775808", "1e3", "-0"]
LITERALS += [
    "99999999999999999999",
    "0.1",
    "007",
    "2.0",
    "-9223372036854775809",
    "1e300",
]


def scalars(type_: str) -> st.SearchStrategy[str]:
    if type_ == "number":
        return st.sampled_from(LITERALS) | scalars("int") | scalars("float")
    if type_.endswith("string"):
        return st.sampled_from([*TEXTS, *NUMBER_TEXTS, "l", "needle", "x" * 445])
    whole = [*WHOLE, 7, 1000, 2**53 + 2]
    if type_.endswith("int"):
        return st.sampled_from(whole).map(str)
    return st.sampled_from([*REAL, *map(float, whole), 0.5, 1000.0]).map(repr)


OPERATORS = ["=", "!=", ">", ">=", "<", "<=", "in"]


@st.composite
def comparisons(draw: Any, further: bool = False) -> dict[str, str]:
    types = [*reference.OPERANDS, *(["number"] if further else [])]
    type_ = draw(st.sampled_from(types))
    keys = [*KEYS, "absent"]
    if type_ == "number":  # keys that have none are another question
        keys = NUMERIC
    key = draw(st.sampled_from(PATHS if type_.startswith("json.") else keys))
    operators = OPERATORS + (["not in"] if further else [])
    if further and type_.endswith("string"):
        operators = [*operators, "contains", "starts with"]
    operator = draw(st.sampled_from(operators))
    if operator in ("in", "not in"):
        items = draw(st.lists(scalars(type_), min_size=1, max_size=4))
        value = write_list(items) if items != [""] else "[,]"
    else:
        value = draw(scalars(type_))
    return {"key": key, "type": type_, "operator": operator, "value": value}


latitudes = st.sampled_from([p[0] for p in PLACES]) | st.floats(-90, 90)
longitudes = st.sampled_from([p[1] for p in PLACES]) | st.floats(-180, 180)
points = st.fixed_dictionaries({"latitude": latitudes, "longitude": longitudes})
radii = st.sampled_from([0, 1, 100, 5000, 1e6, 1e7, 2.1e7, 1e300]) | st.floats(0, 2.1e7)
circles = st.fixed_dictionaries({"center": points, "radius": radii})
rectangles = st.fixed_dictionaries({"p1": points, "p2": points})
locations = st.fixed_dictionaries(
    {},
    optional={
        "gps_coordinates_circle": circles,
        "gps_coordinates_rectangle": rectangles,
    },
)
times = st.sampled_from(MOMENTS) | st.datetimes(
    datetime(1900, 1, 1), datetime(2025, 12, 31), timezones=st.just(UTC)
)


@st.composite
def windows(draw: Any) -> dict[str, str]:
    start, end = sorted([draw(times), draw(times)])
    asked = {}
    if draw(st.booleans()):
        asked["start"] = start.isoformat()
    if draw(st.booleans()) and (asked or end.year >= 1970):
        asked["end"] = end.isoformat().replace("+00:00", "Z")
    return asked


@st.composite
def detections(draw: Any, further: bool = False) -> dict[str, Any]:
    asked = {}
    if draw(st.booleans()):
        labels = st.sampled_from([*LABELS, "unknown"])
        asked["labels"] = draw(st.lists(labels, min_size=1, max_size=3))
    names = ["minimum_score", "maximum_score"]
    names += ["above_score", "below_score"] if further else []
    for name in names:
        if draw(st.integers(0, 2)) == 0:
            asked[name] = draw(st.sampled_from(SCORES))
    if asked.get("minimum_score", -9) > asked.get("maximum_score", 1e39):
        del asked["minimum_score"]
    return asked


@st.composite
def among_classes(draw: Any) -> dict[str, Any]:
    asked = draw(detections(further=True))
    asked.pop("labels", None)
    return asked | {"label": draw(st.sampled_from([*LABELS, "unknown"]))}


def fields(further: bool = False) -> dict[str, st.SearchStrategy[Any]]:
    return {
        "inference_action_filter": st.sampled_from(InferenceAction.labels),
        "data_hash_filter": st.sampled_from([*HASHES, "ab" * 32, HASHES[0].upper()]),
        "data_source_filter": st.sampled_from([*SOURCES, "unknown"]),
        "time_window_filter": windows(),
        "metadata_filter": st.lists(comparisons(further), max_size=2),
        "location_filter": locations,
        "deconstructed_inference_filter": detections(further),
    }


def some(of: dict[str, st.SearchStrategy[Any]], most: int) -> st.SearchStrategy[Any]:
    """A few of the fields, one most often."""
    names = st.lists(st.sampled_from([*of]), min_size=1, max_size=most, unique=True)
    return names.flatmap(lambda names: st.fixed_dictionaries({n: of[n] for n in names}))


has_keys = st.sampled_from(
    [("pose", "json"), ("pose.angle", "json"), ("pose.list.0", "json.int")]
    + [(key, type_) for key in KEYS[:4] for type_ in ("string", "int", "float", "json")]
    + [
        (path, type_)
        for path in PATHS
        for type_ in ("json.int", "json.float", "json.string")
    ]
).map(lambda pair: {"key": pair[0], "type": pair[1]}) | st.sampled_from(
    [*KEYS, "pose", "pose.angle", "absent"]
).map(lambda key: {"key": key})
FURTHER = {
    "class_filter": among_classes(),
    "has_key": has_keys,
    "has_input": st.booleans(),
    "has_warnings": st.booleans(),
    "is_not_understood": st.booleans(),
    "is_protected": st.booleans(),
    "no_detections": st.booleans(),
    "ground_truth": st.sampled_from(STATES),
    "in_dataset": st.sampled_from([*DATASETS, "none"]),
    "in_any_dataset": st.booleans(),
    "model_version": st.sampled_from(TEXTS),
    "environment": st.just("test"),
}
contract = some(fields(), 3)
leaves = some(fields(further=True) | FURTHER, 2) | st.just({})
trees = st.recursive(
    leaves,
    lambda parts: (
        st.lists(parts, min_size=1, max_size=3).map(lambda p: {"and": p})
        | st.lists(parts, min_size=1, max_size=3).map(lambda p: {"or": p})
        | parts.map(lambda part: {"not": part})
    ),
    max_leaves=5,
)

# What is asked of the database is many times slower than what makes it up.
many = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
few = settings(many, max_examples=60)


def ids(filled: Store, body: dict[str, Any]) -> list[str]:
    query = InferenceQuerySerializer.parse(body)
    with transaction.atomic():  # an error leaves the store as it was
        rows = matching(filled.model, query.filters).oldest_first()
        return list(rows.values_list("inference_id", flat=True))


def expected(filled: Store, body: dict[str, Any]) -> list[str]:
    return reference.found(filled.records, body)


def without_blurred(filled: Store, body: dict[str, Any]) -> list[str] | None:
    """The ids that no rounding of a distance can move."""
    asked = list(_circles(body))
    return [
        each.inference_id
        for each in filled.records
        if not any(reference.near_a_boundary(each, circle) for circle in asked)
    ]


def _circles(value: Any) -> Iterator[dict[str, Any]]:
    for name, inner in value.items() if isinstance(value, dict) else ():
        if name == "gps_coordinates_circle":
            yield inner
        yield from _circles(inner)
    for inner in value if isinstance(value, list) else ():
        yield from _circles(inner)


def same(filled: Store, body: dict[str, Any], found: list[str]) -> None:
    sure = without_blurred(filled, body)
    wanted = [each for each in expected(filled, body) if each in sure]
    assert [each for each in found if each in sure] == wanted


def test_filters_find_what_the_contract_says(filled):
    @many
    @given(contract)
    def asked(filters: dict[str, Any]) -> None:
        same(filled, {"filters": filters}, ids(filled, {"filters": filters}))

    asked()


def test_trees_find_what_the_contract_says_of_their_leaves(filled):
    @many
    @given(trees)
    def asked(tree: dict[str, Any]) -> None:
        same(filled, {"filter": tree}, ids(filled, {"filter": tree}))

    asked()


def test_every_row_is_in_a_filter_or_in_its_negation(filled):
    everything = sorted(each.inference_id for each in filled.records)

    @settings(many, max_examples=EXAMPLES // 2)
    @given(trees)
    def asked(tree: dict[str, Any]) -> None:
        within, outside = (
            ids(filled, {"filter": tree}),
            ids(filled, {"filter": {"not": tree}}),
        )
        assert sorted(within + outside) == everything

    asked()


def test_the_text_of_a_tree_finds_the_same(filled):
    @settings(many, max_examples=EXAMPLES // 2)
    @given(trees)
    def asked(tree: dict[str, Any]) -> None:
        filters = InferenceQuerySerializer.parse({"filter": tree}).filters
        query = text.write(filters)
        assert text.parse(query) == normal(filters), query
        assert ids(filled, {"query": query}) == ids(filled, {"filter": tree})

    asked()


def test_all_that_a_body_gives_must_hold(filled):
    @few
    @given(contract, trees)
    def asked(filters: dict[str, Any], tree: dict[str, Any]) -> None:
        body = {"filters": filters, "filter": tree}
        same(filled, body, ids(filled, body))

    asked()


def listed(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [each["inference_id"] for each in answer.json()["results"]]


def test_body_address_and_text_list_the_same_in_order(filled, api):
    @few
    @given(contract)
    def asked(filters: dict[str, Any]) -> None:
        read = InferenceQuerySerializer.parse({"filters": filters}).filters
        page = {"pagination": {"limit": 100}}
        by_body = listed(api.post(FILTER, {"filters": filters, **page}))
        by_text = listed(api.post(FILTER, {"query": text.write(read), **page}))
        by_address = listed(api.get(LIST, {**parameters(read), "limit": 100}))
        counted = api.post(COUNT, {"filters": filters}).json()["count"]

        same(filled, {"filters": filters}, by_body)
        assert by_text == by_address == by_body
        assert counted == len(by_body)

    asked()


@st.composite
def statistics_queries(draw: Any) -> dict[str, Any]:
    type_ = draw(st.sampled_from(["string", "int", "float", "number"]))
    asked = {"key": draw(st.sampled_from(KEYS)), "type": type_}
    if type_ == "string":
        return asked
    limits = st.sampled_from([*REAL, *map(float, WHOLE), -3.5, 0.5])
    low, high = sorted([draw(limits), draw(limits)])
    if draw(st.booleans()):
        asked["distribution_minimum_value"] = low
    if draw(st.booleans()):
        asked["distribution_maximum_value"] = high
    if draw(st.booleans()):
        asked["distribution_bin_count"] = draw(st.integers(1, 40))
    elif draw(st.booleans()):
        asked["distribution_bin_width"] = draw(
            st.sampled_from([0.3, 1, 2.5, 1e15, 1e305])
        )
    return asked


def test_statistics_are_what_the_contract_says(filled):
    @settings(many, max_examples=EXAMPLES // 2)
    @given(statistics_queries(), contract | st.just({}))
    def asked(query: dict[str, Any], filters: dict[str, Any]) -> None:
        if set(without_blurred(filled, filters)) != {
            r.inference_id for r in filled.records
        }:
            return
        passing = set(expected(filled, {"filters": filters}))
        chosen = [each for each in filled.records if each.inference_id in passing]
        values = reference.observations(chosen, query["key"], query["type"])
        parsed = StatisticsQuerySerializer.parse({**query, "filters": filters})
        try:
            with transaction.atomic():
                told = statistics(filled.model, parsed)
        except ValueError as error:
            assert "bins" in str(error)
            return
        content = {
            "count": told.count,
            "min": told.min,
            "max": told.max,
            "distribution": told.distribution,
        }
        reference.check_statistics(values, query, content)

    asked()
