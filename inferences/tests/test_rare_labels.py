"""Whoever reads all that match is led by a rare label, and finds what all others find."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from inferences.search import rare_label_scan
from inferences.search.filters import (
    And,
    DetectionFilter,
    InferenceFilter,
    MetadataFilter,
    Not,
    Or,
    TimeWindow,
    matching,
)
from inferences.search.rare_label_scan import all_matching
from inferences.search.statistics import StatisticsQuery, statistics

pytestmark = pytest.mark.django_db

WRECK, SHIP = DetectionFilter(["wreck"]), DetectionFilter(["ship"])
NORTH = MetadataFilter("camera", "string", "=", "north")
LATE = TimeWindow(
    datetime(2026, 1, 1, 12, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC)
)
FILTERS = [
    InferenceFilter(detections=WRECK),
    InferenceFilter(detections=WRECK, time_window=LATE),
    InferenceFilter(detections=DetectionFilter(["wreck", "ship"], minimum_score=0.6)),
    InferenceFilter(detections=DetectionFilter(["nowhere"])),
    InferenceFilter(detections=DetectionFilter(["wreck"], maximum_score=0.1)),
    And((WRECK, NORTH)),
    And((WRECK, SHIP)),
    Or((WRECK, NORTH)),
    Or((WRECK, SHIP)),
    Not(WRECK),
    And((Not(WRECK), SHIP)),
    InferenceFilter(),
]


@pytest.fixture
def many(make_inference):
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(24):
        detections = [("ship", 0.5 + number / 50)] * (number % 3)
        if number % 8 == 0:
            detections = [*detections, ("wreck", 0.3), ("wreck", 0.7)]
        make_inference(
            {"camera": "north" if number % 2 else "south", "frame": number},
            detections=detections,
            inference_id=f"{number}",
            created_at=start + timedelta(hours=number),
        )


@pytest.mark.parametrize("rare", [0, 3, 20_000])
@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_it_finds_the_same(model, many, monkeypatch, filters, rare):
    monkeypatch.setattr(rare_label_scan, "RARE", rare)
    expected = set(matching(model, filters).values_list("id", flat=True))
    found = all_matching(model, filters)
    assert set(found.values_list("id", flat=True)) == expected
    assert found.count() == len(expected)
    query = StatisticsQuery("frame", "int", filters)
    assert statistics(model, query).count == len(expected)


def test_a_rare_label_leads_and_a_common_one_does_not(model, many, monkeypatch):
    monkeypatch.setattr(rare_label_scan, "RARE", 6)
    assert _is_led(all_matching(model, WRECK))
    assert _is_led(all_matching(model, And((SHIP, WRECK))))
    for common in (SHIP, Or((WRECK, SHIP)), Or((WRECK, NORTH)), Not(WRECK), NORTH):
        assert not _is_led(all_matching(model, common))


def test_every_bulk_call_on_a_label_is_led(api, model, many):
    asked = {"filters": {"deconstructed_inference_filter": {"labels": ["wreck"]}}}
    address = "/api/v1/models/yolo-harbour"
    chip = {"metadata": [{"key": "chip", "type": "string", "value": "a"}]}
    calls = {
        "inferences/protection": {},
        "metadata/bulk": chip,
        "inferences/delete": {},
    }
    for path, more in calls.items():
        with CaptureQueriesContext(
            connection,
        ) as seen:
            answer = api.post(f"{address}/{path}", asked | more)
        assert answer.status_code == 200, answer.json()
        chosen = [
            each["sql"]
            for each in seen.captured_queries
            if '"labels" &&' in each["sql"] and "SELECT" in each["sql"]
        ]
        assert chosen
        assert all("= ANY(" in sql for sql in chosen), path
    assert not matching(model, WRECK).exists()
    assert matching(model, SHIP).exists()


def _is_led(found) -> bool:
    return "= ANY(" in str(found.query)
