"""The two readers of a create agree on everything that the quick one reads at all."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from inferences.api.creating import read_carefully
from inferences.api.quick_creations import read_quickly
from inferences.store.creation import Creation

ORDINARY: dict[str, Any] = {
    "model_id": "yolo-harbour",
    "inference_id": "frame-1",
    "is_protected": True,
    "created_at": "2026-05-01T12:00:00.25Z",
    "data": {
        "object_detection": [
            {"label": "ship", "score": 0.9, "xmin": 1, "ymin": 2, "xmax": 3, "ymax": 4}
        ],
        "oriented_object_detection": [],
        "image_classification": [{"label": "harbour", "score": 1}],
        "image_segmentation": [{"label": "quay", "contours": [[]]}],
        "embedding": [0.5, 1],
        "metadata": {
            "standard_metadata": {
                "data_hash": "aB" * 32,
                "data_size": 12,
                "task_type": "Object Detection",
                "inference_action": "detect",
                "data_source": "quay-3",
                "latitude": 51.95,
                "longitude": 4,
            },
            "extended_metadata": [
                {"key": "frame", "type": "int", "value": "13"},
                {"key": "gain", "type": "float", "value": "0.5"},
                {"key": "pose", "type": "json", "value": '{"angle": 1.5}'},
                {"key": "camera", "type": "string", "value": "north"},
            ],
        },
    },
}
ODD = st.sampled_from(
    [
        None, True, False, 0, -1, 2**63, 10**400, 1.5, -90.01, 1e308, "", " ", "x" * 256,
        ".", "..", "a\n", "é", "none", "json", "2026-05-01", "2026-05-01T12:00:00+02:00",
        "2026-13-01T12:00:00Z", "1900-01-01T00:00:00Z", "2026-05-01T12:00:00.1234567Z",
        "٢٠٢٦-05-01T12:00:00Z", [], {}, [[]], [None], ["x"], [1, "2"], {"key": "k"},
        [{"key": "k", "type": "string", "value": None}],
        [{"key": "k", "type": "string", "value": "a"}] * 2,
        [{"key": "latitude", "type": "float", "value": "1"}],
        [{"key": "", "type": "string", "value": "a"}],
        [{"key": "k", "type": "string", "value": "a", "more": 1}],
        [{"key": "k", "type": [], "value": "a"}],
    ]
)  # fmt: skip


def _paths(value: Any, before: tuple = ()) -> list[tuple]:
    inside = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list):
        inside = enumerate(value)
    return [
        before,
        *(path for at, each in inside for path in _paths(each, (*before, at))),
    ]


@st.composite
def bodies(draw) -> Any:
    """The ordinary body with a few members left out, replaced, or added."""
    body = copy.deepcopy(ORDINARY)
    for _ in range(draw(st.integers(0, 3))):
        *way, last = draw(st.sampled_from(_paths(body)[1:]))
        inside = body
        for step in way:
            inside = inside[step]
        match draw(st.sampled_from(["out", "other", "more"])):
            case "out":
                del inside[last]
            case "other":
                inside[last] = copy.deepcopy(draw(ODD))
            case "more" if isinstance(inside, dict):
                inside[draw(st.sampled_from(["extra", "value", "score"]))] = (
                    copy.deepcopy(draw(ODD))
                )
        if not body:
            break
    return body


def test_an_ordinary_create_is_read_quickly(model):
    assert read_quickly(model, ORDINARY) == read_carefully(model, ORDINARY)
    assert isinstance(read_quickly(model, ORDINARY), Creation)


@settings(
    max_examples=600,
    deadline=None,
    # One body in five is read quickly; the others are the serializer's alone.
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.filter_too_much,
    ],
)
@given(body=bodies())
def test_what_is_read_quickly_is_what_the_serializer_reads(model, body):
    quick = read_quickly(model, copy.deepcopy(body))
    assume(quick is not None)
    assert quick == read_carefully(model, body)


@pytest.mark.parametrize("given", ["a\n", "..", "", "x" * 256])
def test_ids_that_are_refused_are_not_read_quickly(model, given):
    assert read_quickly(model, ORDINARY | {"inference_id": given}) is None
