"""Builders of the tests of datasets; inputs are stored as those of exports are."""

from __future__ import annotations

import pytest

from datasets import adding, lifecycle
from datasets.models import AddingTask, Dataset
from exports.selections import Selection
from exports.tests.conftest import make_stored  # noqa: F401 a builder of both


@pytest.fixture
def dataset(project) -> Dataset:
    return lifecycle.create("test", project, "hard cases")


@pytest.fixture
def add(dataset, model):
    """``add({"query": "label:ship"})``: the task, carried out here and now."""

    def run(asked=None, *, to=None, of=None, **options) -> AddingTask:
        asked = asked or {}
        selection = Selection.from_json(asked)
        into = Dataset.objects.get(pk=(to or dataset).pk)
        task = lifecycle.add("test", into, of or model, selection, asked, **options)
        adding.carry_out(task)
        return task

    return run


def names(entries) -> list[str]:
    return [each.inference_id for each in entries.order_by("pk")]
