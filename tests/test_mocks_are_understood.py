"""What the client's mocks answer is read like the answers of models."""

from __future__ import annotations

import io

import pytest
from inference_store import mocks
from PIL import Image

from inferences.predictions.model_types import MODEL_TYPES
from inferences.predictions.parse import deconstruct

TYPES = {name: each for each in MODEL_TYPES for name in each.mocks}


def request_of(mock):
    if mock.takes == "text":
        return {"text": "A ship enters the harbour and"}
    if mock.takes == "features":
        return {"features": {"draught": 7.5}}
    buffer = io.BytesIO()
    Image.new("RGB", (320, 200)).save(buffer, format="PNG")
    return {"image": buffer.getvalue()}


def test_every_mock_belongs_to_one_model_type():
    named = [name for each in MODEL_TYPES for name in each.mocks]

    assert sorted(named) == sorted(mocks.registry)


@pytest.mark.parametrize("name", sorted(mocks.registry))
def test_an_answer_of_a_mock_is_understood(name):
    task, kind = TYPES[name].task, TYPES[name].kind
    meant = 0
    for seed in range(10):
        mock = mocks.create(name, {"seed": seed})
        answer = mock.infer(request_of(mock))
        found = deconstruct(answer, task_type=task)
        assert found.understood, (seed, answer)
        # Classes are kept alike, of pictures and of rows.
        assert found.kind == kind or (found.kind.is_classes and kind.is_classes)
        assert not found.warnings
        meant += bool(found.detections or found.content or found.embedding)
        if kind.value in ("object_detection", "image_segmentation"):
            assert len(found.detections) == len(answer)
    assert meant > 5  # a picture may hold nothing, and most do not
