"""What each model takes up is measured, and told by size."""

from __future__ import annotations

import pytest
from django.core.cache import cache
from django.urls import reverse

from inferences.maintenance import storage_by_model
from inferences.models import RegisteredModel

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("queue", "local_cache")]


def test_storage_is_measured_by_the_first_to_look(model, make_inference):
    make_inference(inference_id="a", data_storage_key="1/1/x/input", data_size=100)

    (bar,) = storage_by_model.by_model()["bars"]

    assert (bar.records, bar.bytes) == (1, 100)
    make_inference(inference_id="b", data_storage_key="1/1/y/input", data_size=100)
    assert storage_by_model.by_model()["bars"] == [bar]  # until the beat measures again


def test_too_much_to_measure_at_once_is_said(operator, model, monkeypatch):
    monkeypatch.setattr(storage_by_model, "FIRST_LOOK_SECONDS", 0)

    assert storage_by_model.by_model() == {
        "bars": [],
        "measured_at": None,
        "models": 0,
        "more": 0,
    }
    content = operator.get(reverse("operations")).content.decode()
    assert "too much to measure it while you wait" in content


def test_storage_is_told_by_size(model, make_inference):
    make_inference(inference_id="a", data_storage_key="1/1/x/input", data_size=100)
    make_inference(inference_id="b", data_size=900)  # its input is gone
    storage_by_model.measure()

    (bar,) = storage_by_model.by_model()["bars"]
    assert (bar.records, bar.bytes, bar.percent) == (2, 100, 100)


def test_it_says_of_how_many_models_the_largest_are_shown(operator, model, monkeypatch):
    monkeypatch.setattr(storage_by_model, "SHOWN", 1)
    for name in ("a", "b"):
        RegisteredModel.objects.create(
            model_id=name, project=model.project, task_type=model.task_type
        ).inferences.count()
    cache.clear()
    answer = storage_by_model.by_model()
    assert (answer["models"], answer["more"]) == (3, 2)
