"""The pages of quality and of answers of further types, for everyone."""

from __future__ import annotations

import pytest

from inferences.models import RegisteredModel, TaskType
from inferences.tests.model_type_cases import CASES, given
from quality.tests.builders import classes, parts_of, store_answers

pytestmark = pytest.mark.django_db(transaction=True)
SHOWN = (
    TaskType.NAMED_ENTITIES,
    TaskType.TABULAR_REGRESSION,
    TaskType.TIME_SERIES,
    TaskType.TEXT_GENERATION,
)


def test_quality_and_answers_can_be_seen_by_everyone(
    store,
    watched,
    live_server,
    log_in,
    findings,
    model,
    api,
):
    beside = {
        "shap_values": {"age": 0.5, "income": -0.2},
        "embeddings": {"user": [0.1, -0.2]},
        "inputs": {"text": "Anna lives in Rotterdam."},
    }
    addresses = []
    for task in SHOWN:
        RegisteredModel.objects.filter(pk=model.pk).update(task_type=task)
        body = given(task.name, {**beside, **CASES[task][0]})
        path = f"/api/v1/models/{model.model_id}/inferences"
        assert api.post(path, body, format="json").status_code == 201
        addresses.append((task, f"/models/{model.model_id}/inferences/{task.name}"))
    model.refresh_from_db()
    made = classes(rows=30, names="abcdefgh")
    store_answers(
        model,
        TaskType.IMAGE_CLASSIFICATION,
        [(parts_of(scores), {"label": actual}, {}) for scores, actual in made],
    )
    quality = f"/models/{model.model_id}/quality?group=time"
    addresses.append((TaskType.IMAGE_CLASSIFICATION, quality))
    page, found = watched, []
    log_in(page)

    for task, address in addresses:
        RegisteredModel.objects.filter(pk=model.pk).update(task_type=task)
        page.goto(live_server.url + address)
        page.wait_for_load_state("networkidle")
        found += findings(page, address)
        page.set_viewport_size({"width": 320, "height": 640})
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 320, f"{address} is {width} pixels wide"
        page.set_viewport_size({"width": 1280, "height": 800})

    assert not found
