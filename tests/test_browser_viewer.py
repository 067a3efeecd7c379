"""A viewer looks at everything and changes nothing, whatever their browser sends."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from datasets import lifecycle
from datasets.models import AddingTask, Dataset
from exports.models import ExportTask
from inferences.models import MetadataChange, SavedView
from inferences.models.ground_truth import GroundTruth
from istore.models import AuditEntry
from retention.models import RetentionPolicy
from services.models import InferenceSession

pytestmark = pytest.mark.django_db(transaction=True)
MODEL = "/projects/harbour/models/yolo-harbour"
ONE = f"{MODEL}/inferences/harbour/1"
DATASET = "/projects/harbour/datasets/hard%20cases"
LOOKED_AT = [
    "/",
    f"{MODEL}/inferences",
    f"{MODEL}/inferences?view=table&label=ship",
    ONE,
    f"{MODEL}/statistics",
    f"{MODEL}/quality",
    f"{MODEL}/retention",
    f"{MODEL}/retention/tasks",
    f"{MODEL}/exports",
    "/projects/harbour/datasets",
    DATASET,
]
OF_ONESELF = {"/theme", "/logout"}
ALL = {"everything": "true", "query": "?", "sure": "true"}
ACTS = {
    f"{MODEL}/selection/protect": ALL,
    f"{MODEL}/selection/unprotect": ALL,
    f"{MODEL}/selection/tag": {**ALL, "key": "k", "type": "string", "value": "v"},
    f"{MODEL}/selection/untag": {"key": "k", "type": "string", "value": "v"},
    f"{MODEL}/selection/remove": {**ALL, "number": "3"},
    f"{MODEL}/selection/unremove": {"hidden": "x"},
    f"{MODEL}/add-to-dataset": {**ALL, "dataset": "hard cases"},
    f"{MODEL}/exports/new": {**ALL, "format": "jsonl"},
    f"{MODEL}/views": {"name": "mine", "query": "?label=ship"},
    f"{MODEL}/settings": {"task_type": "Object Detection"},
    f"{MODEL}/storage": {"enable": "false"},
    f"{MODEL}/retention": {"what": "inputs", "input_age_0": "1", "input_age_1": "1"},
    f"{MODEL}/retention/tasks": {"dry_run": "true"},
    f"{MODEL}/try": {"form": "text", "text": "hello"},
    f"{ONE}/change-metadata": {"key": "camera", "remove": "true"},
    f"{ONE}/change-truth": {"form": "labels", "labels": "ship"},
    f"{ONE}/change-protection": {"protect": "true"},
    "/projects/harbour/datasets": {"name": "another"},
    f"{DATASET}/publish": {"note": ""},
    f"{DATASET}/put-back": {"entry": "1"},
    f"{DATASET}/delete": {"name": "hard cases"},
    "/register": {"model_id": "another"},
}


def test_a_viewer_cannot_act(store, watched, live_server, log_in):
    lifecycle.create("test", store.project, "hard cases")
    noted = AuditEntry.objects.exclude(action__startswith="user.").count()
    page = watched
    log_in(page, "viktor")
    for address in LOOKED_AT:
        page.goto(live_server.url + address)
        page.wait_for_load_state("networkidle")
        offered = page.locator("form[method=post]").evaluate_all(
            "all => all.map(one => new URL(one.action).pathname)"
        )
        # What one sees first is one's own choice: theme, log-in, pins.
        acts = {each for each in offered if not each.endswith("/pin")}
        assert acts == OF_ONESELF, address
        assert page.locator("[formaction]").count() == 0, address
    expect(page.get_by_role("heading", name="hard cases", exact=True)).to_be_visible()

    # What no page offers is refused when it is sent all the same.
    for address, given in ACTS.items():
        assert posted(page, live_server.url, address, given) == 403, address

    live = store.inferences.live()
    assert live.count() == 3
    assert not live.filter(is_protected=True).exists()
    for made in (
        RetentionPolicy,
        SavedView,
        GroundTruth,
        MetadataChange,
        ExportTask,
        AddingTask,
        InferenceSession,
    ):
        assert not made.objects.exists(), made
    assert [each.name for each in Dataset.objects.live()] == ["hard cases"]
    assert AuditEntry.objects.exclude(action__startswith="user.").count() == noted
    store.refresh_from_db()
    assert store.enable_inference_storage


def posted(page: Page, server: str, address: str, given: dict[str, str]) -> int:
    """The status of a form that is sent in the name of whoever is logged in."""
    token = page.locator("[name=csrfmiddlewaretoken]").first.input_value()
    response = page.context.request.post(
        server + address,
        form={**given, "csrfmiddlewaretoken": token},
        max_redirects=0,
    )
    return response.status
