"""A store of odd records, and what the reference in plain Python says of a question.

ISTORE_EXAMPLES=2000 asks more of it than the suite does.
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

from django.db import transaction

from datasets.models import Dataset, DatasetEntry
from inferences.ground_truth.joining import Actual, join
from inferences.ground_truth.references import Reference
from inferences.models import InferenceAction, RegisteredModel
from inferences.models.metadata_values import MetadataValue
from inferences.search.api.filter_serializers import InferenceQuerySerializer
from inferences.search.filters import matching
from inferences.store.recording import NewInference, record
from inferences.tests import reference
from inferences.tests.reference import Record
from traces.models import Span

RECORDS = 60

DATASETS = ("hard cases", "other")
# Of sixteen records, why each failed and the status of its answer.
FAILURES = [("", None), ("", 200)] * 5 + [
    *[("status", 429), ("status", 503), ("timeout", 504)],
    *[("unavailable", 502), ("broken-off", 200), ("error", 200)],
]
TRACES = ("a1" * 16, "b2" * 16)

# Each a seed, for other records, in other slots. Of the last two one class is the answer;
# half of the last are as they were stored before it was told apart.
DETECTING, CLASSIFYING, HALFWAY = 1, 2, 3

STORES = (DETECTING, CLASSIFYING, HALFWAY)

EXAMPLES = int(os.environ.get("ISTORE_EXAMPLES", "150"))

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

SPOKEN = ["wet", "Paint", "paints", "4e5", "4e5f", "2x", "naïve", "NAI\u0308VE"]

SPOKEN += ["a_b", "foo-bar.baz", "東京", "京", "<b>", "—", "10.5", "x" * 150, "É"]

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
                failure=FAILURES[number % 16][0],
                status=FAILURES[number % 16][1],
                prompt=" ".join(random.choices(SPOKEN, k=random.randrange(7))),
                answer=", ".join(random.choices(SPOKEN, k=random.randrange(7))),
                truth=random.choice([None, "ship", *(d[0] for d in detections)]),
                dataset=random.choice([None, None, *DATASETS]),
                trace=[None, *TRACES][number % 3],
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
                data=json.dumps({"inputs": {"text": each.prompt}, "said": each.answer}),
                data_storage_key="key" if each.has_input else "",
                notes={
                    "warnings": ["cut"] if each.has_warnings else [],
                    **({"not_understood": True} if each.is_not_understood else {}),
                    **({"failure": each.failure} if each.failure else {}),
                    **({"answer": {"status": each.status}} if each.status else {}),
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


def add_to_traces(model: RegisteredModel, made: list[Record]) -> None:
    rows = {row.inference_id: row for row in model.inferences.all()}
    Span.objects.bulk_create(
        Span(
            registered_model=model,
            trace_id=bytes.fromhex(each.trace),
            span_id=number.to_bytes(8),
            row_id=rows[each.inference_id].pk,
            kind="llm",
            name="chat",
            started_at=each.created_at,
            ended_at=each.created_at,
        )
        for number, each in enumerate(made, 1)
        if each.trace
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
