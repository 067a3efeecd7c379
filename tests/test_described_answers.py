"""Rows that become JSON without a serializer are what the description says of them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import jsonschema_rs
import pytest
from drf_spectacular.generators import SchemaGenerator

from inferences.api.serializers import InferenceSerializer
from inferences.store.answer_fields import FIELDS

DESCRIBED: dict[str, Any] = SchemaGenerator().get_schema(public=True)
PATH = "/api/v1/models/{}/inferences"


def validator(name: str) -> jsonschema_rs.Draft202012Validator:
    reference = {"$ref": f"#/components/schemas/{name}"}
    return jsonschema_rs.Draft202012Validator(
        {**reference, "components": DESCRIBED["components"]}
    )


@pytest.fixture
def stored(make_inference):
    """A bare inference, and one with all that a row may have."""
    make_inference()
    return make_inference(
        {"camera": "north", "frame": 12, "pose": {"a": 1.5}},
        latitude=51.5,
        longitude=4.25,
        data_source="quay-3",
        detections=[("ship", 0.5), ("buoy", None)],
        data='{"outputs": []}',
        notes={"warnings": ["Something."]},
    )


@pytest.mark.parametrize(
    "body",
    [{}, {"presign": True}, {"fields": list(FIELDS)}, {"pagination": {"limit": 1}}],
)
def test_a_page_is_as_described(api, stored, body):
    path = PATH.format(stored.registered_model.model_id)
    response = api.post(f"{path}/filter", body)
    assert response.status_code == HTTPStatus.OK
    validator("Page").validate(response.json())
    fields = set(InferenceSerializer().fields)
    for row in response.json()["results"]:
        assert row.keys() <= fields
        assert row.keys() >= fields - {*FIELDS, "unread"}


def test_one_inference_is_as_described(api, stored):
    path = PATH.format(stored.registered_model.model_id)
    response = api.get(f"{path}/{stored.inference_id}")
    validator("Inference").validate(response.json())


def test_the_description_would_notice(api, stored):
    path = PATH.format(stored.registered_model.model_id)
    row = api.get(f"{path}/{stored.inference_id}").json()
    with pytest.raises(jsonschema_rs.ValidationError):
        validator("Inference").validate({**row, "data_size": "large"})


@pytest.mark.parametrize("body", [{}, {"limit": 1}])
def test_a_count_is_as_described(api, stored, body):
    path = PATH.format(stored.registered_model.model_id)
    validator("Count").validate(api.post(f"{path}/count", body).json())
