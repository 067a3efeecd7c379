"""Calls that change what matches leave out the inferences that are named, and only those."""

from __future__ import annotations

import pytest

from inferences.models import InferencePayload
from inferences.store import soft_deletion
from istore.models import Role

pytestmark = pytest.mark.django_db
BUT = {"filters": {}, "exclude_inference_ids": ["b", "d", "of nobody"]}
MODEL = "/api/v1/models/yolo-harbour"


@pytest.fixture
def four(model, make_inference):
    for name in "abcd":
        make_inference(inference_id=name)
    return model


def live(model) -> list[str]:
    rows = model.inferences.live().order_by("inference_id")
    return list(rows.values_list("inference_id", flat=True))


def test_all_but_some_are_removed(api, four, queue):
    counted = api.post(f"{MODEL}/inferences/delete", {**BUT, "dry_run": True})
    assert counted.json()["count"] == 2
    done = api.post(f"{MODEL}/inferences/delete", BUT).json()
    assert sorted(done["deleted_inference_ids"]) == ["a", "c"]
    assert live(four) == ["b", "d"]
    assert not soft_deletion.soft_deleted(four).exists()


def test_all_but_some_are_deleted_softly_and_restored(api, api_as, four):
    body = {**BUT, "delete_action": "soft"}
    done = api.post(f"{MODEL}/inferences/delete", body).json()
    assert sorted(done["deleted_inference_ids"]) == ["a", "c"]
    assert done["count"] == 2
    assert live(four) == ["b", "d"]
    administrator = api_as(Role.ADMINISTRATOR)
    back = administrator.post(f"{MODEL}/deleted/restore", {"filters": {}})
    assert back.status_code == 200
    assert live(four) == ["a", "b", "c", "d"]


def test_all_but_some_are_protected_and_tagged(api, four):
    assert api.post(f"{MODEL}/inferences/protection", BUT).json()["count"] == 2
    protected = four.inferences.filter(is_protected=True)
    assert {each.inference_id for each in protected} == {"a", "c"}
    seen = {"key": "seen", "type": "int", "value": "1"}
    changed = api.post(f"{MODEL}/metadata/bulk", {**BUT, "metadata": [seen]})
    assert changed.json()["changed"] == {"seen": 2}
    rows = InferencePayload.objects.beside(four).filter(metadata__has_key="seen")
    assert set(rows.values_list("id", flat=True)) == {each.id for each in protected}


@pytest.mark.parametrize(
    "wrong",
    [
        {"exclude_inference_ids": ["b"]},
        {"filters": {}, "exclude_inference_ids": "b"},
        {"filters": {}, "exclude_inference_ids": [None]},
        {"filters": {}, "exclude_inference_ids": [""]},
        {"filters": {}, "exclude_ids": ["b"]},
        {"filters": {}, "delete_action": "gently"},
    ],
)
def test_a_body_that_cannot_be_read_removes_nothing(api, four, wrong):
    assert api.post(f"{MODEL}/inferences/delete", wrong).status_code == 400
    assert live(four) == ["a", "b", "c", "d"]
