from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from inferences.models import Inference, InferencePayload, RegisteredModel

FILTER = "/api/v1/projects/harbour/inferences/filter"
COUNT = "/api/v1/projects/harbour/inferences/count"
START = datetime(2025, 6, 1, tzinfo=UTC)


@pytest.fixture
def fleet(model, project, make_inference):
    """Three models whose inferences alternate; some share a row id to the bit."""
    models = [model] + [
        RegisteredModel.objects.create(model_id=name, project=project)
        for name in ("second", "third")
    ]
    for number in range(20):
        for each in models:
            make_inference(
                {"even": number % 2},
                to=each,
                inference_id=f"{each.pk}-{number}",
                created_at=START + timedelta(seconds=number),
            )
    by_time = {}
    for row in Inference.objects.order_by("id"):
        same = by_time.setdefault(row.id >> 12, row.id)
        one = {"registered_model": row.registered_model_id, "id": row.id}
        Inference.objects.filter(**one).update(id=same)
        InferencePayload.objects.filter(**one).update(id=same)
    return models


def walk(api, limit, **body):
    found, cursor = [], None
    while True:
        pagination = {**body.get("pagination", {}), "limit": limit, "cursor": cursor}
        page = api.post(FILTER, body | {"pagination": pagination}).json()
        found += [each["inference_id"] for each in page["results"]]
        cursor = page["next"]
        if not cursor:
            return found


@pytest.mark.parametrize("limit", [1, 7, 100])
@pytest.mark.parametrize("direction", ["asc", "desc"])
def test_every_inference_of_every_model_is_met_once(api, fleet, limit, direction):
    found = walk(api, limit, pagination={"direction": direction})

    assert len(found) == 60
    assert set(found) == {f"{each.pk}-{n}" for each in fleet for n in range(20)}
    numbers = [int(name.partition("-")[2]) for name in found]
    assert numbers == sorted(numbers, reverse=direction == "desc")


def test_the_filter_holds_for_all_models(api, fleet):
    asked = {"key": "even", "type": "int", "operator": "=", "value": "0"}
    body = {"filters": {"metadata_filter": [asked]}}

    assert len(walk(api, 7, **body)) == 30
    assert api.post(COUNT, body).json() == {"count": 30, "is_exact": True}
    capped = api.post(COUNT, body | {"limit": 25}).json()
    assert capped == {"count": 25, "is_exact": False}


def test_a_text_query_does_too(api, fleet):
    assert api.post(COUNT, {"query": "meta.even=1"}).json()["count"] == 30


def test_over_several_models_there_is_no_other_order(api, fleet):
    asked = {"pagination": {"sort": "score"}}

    assert api.post(FILTER, asked).status_code == 400
