from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.db.models import Sum
from django.db.models.functions import Now

from inferences.models import InferenceKey, InferencePayload, MetadataKeyCount
from inferences.search.counting import count_matching
from inferences.search.filters import DetectionFilter, InferenceFilter, matching
from inferences.store import removal, soft_deletion
from istore import failpoints
from istore.db.clock import now
from istore.models import AuditEntry, Role

ADDRESS = "/api/v1/models/yolo-harbour"


@pytest.fixture
def armed():
    yield failpoints.arm
    failpoints.arm("")


@pytest.fixture
def administrator(api_as):
    return api_as(Role.ADMINISTRATOR)


def soft_delete(model, *names, ago=timedelta()):
    with transaction.atomic():
        removal.hide_records(model, model.inferences.filter(inference_id__in=names))
    payloads = InferencePayload.objects.beside(model).exclude(deleted_at=None)
    payloads.update(deleted_at=Now() - ago)


def names_of(answer):
    assert answer.status_code == 200, answer.json()
    return [each["inference_id"] for each in answer.json()["results"]]


def observations(key):
    rows = MetadataKeyCount.objects.filter(key=key)
    return rows.aggregate(sum=Sum("delta"))["sum"]


def test_an_administrator_finds_what_everybody_misses(
    administrator, api, model, make_inference
):
    for name in "abc":
        make_inference(inference_id=name)
    soft_delete(model, "a", "b")

    assert names_of(api.get(f"{ADDRESS}/inferences")) == ["c"]
    assert api.get(f"{ADDRESS}/inferences/a").status_code == 404
    found = administrator.get(f"{ADDRESS}/deleted")
    assert sorted(names_of(found)) == ["a", "b"]
    assert all(each["deleted_at"] for each in found.json()["results"])
    assert api.get(f"{ADDRESS}/deleted").status_code == 403


def test_pages_follow_each_other(administrator, model, make_inference):
    names = [f"{number}" for number in range(5)]
    for name in names:
        make_inference(inference_id=name)
    soft_delete(model, *names)

    met, cursor = [], ""
    while cursor is not None:
        answer = administrator.get(
            f"{ADDRESS}/deleted?limit=2{cursor and '&cursor='}{cursor}"
        )
        met += names_of(answer)
        cursor = answer.json()["next"]

    assert sorted(met) == names


def test_the_deleted_are_filtered_like_the_others(administrator, model, make_inference):
    make_inference({"split": "a"}, inference_id="a", detections=[("ship", 0.9)])
    make_inference({"split": "b"}, inference_id="b")
    soft_delete(model, "a", "b")

    body = {"query": "meta.split=a label:ship"}
    assert names_of(administrator.post(f"{ADDRESS}/deleted/filter", body)) == ["a"]
    assert names_of(administrator.get(f"{ADDRESS}/deleted?label=ship")) == ["a"]


def test_all_that_queries_read_is_back(administrator, model, make_inference):
    keys = {f"key_{number}": f"{number}" for number in range(10)}
    make_inference(keys, inference_id="a", detections=[("ship", 0.9)])
    asked = [
        InferenceFilter(detections=DetectionFilter(("ship",))),
        InferenceFilter(),
    ]
    before = [count_matching(model, each) for each in asked]
    soft_delete(model, "a")
    hidden = [count_matching(model, each).number for each in asked]

    answer = administrator.post(f"{ADDRESS}/deleted/restore", {"inference_ids": ["a"]})

    assert answer.json() == {"count": 1, "dry_run": False, "more": False}
    assert hidden == [0, 0]
    assert [count_matching(model, each) for each in asked] == before
    assert observations("key_3") == observations("key_9") == 1
    assert names_of(administrator.get(f"{ADDRESS}/inferences?metadata=key_9=9")) == [
        "a"
    ]
    assert InferencePayload.objects.beside(model).get().deleted_at is None
    assert AuditEntry.objects.filter(action="inference.restore").count() == 1


def test_a_page_begins_low_enough_for_what_came_back(
    administrator, model, make_inference
):
    row = make_inference(inference_id="a")
    soft_delete(model, "a")
    type(model).objects.filter(pk=model.pk).update(
        first_id=row.id + 1, blob_gone_before=row.id + 1
    )

    administrator.post(f"{ADDRESS}/deleted/restore", {"filters": {}})

    model.refresh_from_db()
    assert model.first_id <= row.id and model.blob_gone_before <= row.id
    assert names_of(administrator.get(f"{ADDRESS}/inferences")) == ["a"]


def test_all_that_match_come_back_in_batches(
    administrator, model, make_inference, settings
):
    for number in range(5):
        make_inference({"split": "a" if number else "b"}, inference_id=f"{number}")
    soft_delete(model, "0", "1", "2", "3", "4")
    settings.ISTORE_REMOVAL_BATCH = 2
    body = {"query": "meta.split=a"}

    dry = administrator.post(f"{ADDRESS}/deleted/restore", body | {"dry_run": True})
    assert dry.json()["count"] == 4
    assert not model.inferences.live().exists()

    done = administrator.post(f"{ADDRESS}/deleted/restore", body).json()
    assert done["count"] == 4
    assert matching(model, InferenceFilter()).count() == 4


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"query": " "},
        {"filters": {}, "inference_ids": ["a"]},
        {"inference_ids": []},
        {"inference_ids": [3]},
        {"filters": {"colour": "red"}},
    ],
)
@pytest.mark.parametrize("act", ["restore", "remove"])
def test_which_ones_must_be_said(administrator, model, make_inference, act, body):
    make_inference(inference_id="a")
    soft_delete(model, "a")

    assert administrator.post(f"{ADDRESS}/deleted/{act}", body).status_code == 400
    assert soft_deletion.soft_deleted(model).count() == 1


@pytest.mark.parametrize("cursor", ["x", "9" * 19, "1.5"])
def test_a_cursor_that_is_none_is_a_400(administrator, model, cursor):
    answer = administrator.get(f"{ADDRESS}/deleted?cursor={cursor}")

    assert answer.status_code == 400


def test_the_live_are_neither_restored_nor_removed(
    administrator, model, make_inference
):
    make_inference(inference_id="a")

    for act in ("restore", "remove"):
        for body in ({"inference_ids": ["a"]}, {"filters": {}}):
            answer = administrator.post(f"{ADDRESS}/deleted/{act}", body)
            assert answer.json()["count"] == 0
    assert model.inferences.live().count() == 1


def test_what_is_removed_for_good_does_not_come_back(
    administrator, model, make_inference
):
    make_inference({"k": "v"}, inference_id="a")
    soft_delete(model, "a")

    administrator.post(f"{ADDRESS}/deleted/remove", {"inference_ids": ["a"]})

    restored = administrator.post(
        f"{ADDRESS}/deleted/restore", {"inference_ids": ["a"]}
    )
    assert restored.json()["count"] == 0
    assert names_of(administrator.get(f"{ADDRESS}/deleted")) == []
    removal.RECORDS.finish(model)
    assert not model.inferences.exists()
    assert InferenceKey.objects.get(inference_id="a").removed_at
    assert observations("k") == 0


def test_what_was_hidden_long_ago_goes_by_itself(model, make_inference, settings):
    settings.ISTORE_SOFT_DELETE_DAYS, settings.ISTORE_REMOVAL_BATCH = 30, 2
    for name in "abc":
        make_inference(inference_id=name)
        soft_delete(model, name, ago=timedelta(days=31))
    make_inference(inference_id="d")
    with transaction.atomic():
        removal.hide_records(model, model.inferences.filter(inference_id="d"))

    assert soft_deletion.remove_old(now()) == 3
    assert model.inferences.get().inference_id == "d"


def test_with_zero_days_nothing_goes_by_itself(model, make_inference, settings):
    settings.ISTORE_SOFT_DELETE_DAYS = 0
    make_inference(inference_id="a")
    soft_delete(model, "a", ago=timedelta(days=3000))

    assert soft_deletion.remove_old(now()) == 0
    assert model.inferences.exists()


def test_a_restore_that_is_cut_off_goes_on(model, make_inference, settings, armed):
    for name in "abc":
        make_inference({"k": "v"}, inference_id=name)
    soft_delete(model, "a", "b", "c")
    settings.ISTORE_REMOVAL_BATCH = 1
    armed("restoring.restored:2=raise")

    chosen = lambda: soft_deletion.soft_deleted(model)  # noqa: E731
    with pytest.raises(failpoints.Failure):
        soft_deletion.restore("test", model, chosen)
    armed("")
    assert model.inferences.live().count() == observations("k") == 1

    assert soft_deletion.restore("test", model, chosen).count == 2
    assert model.inferences.live().count() == observations("k") == 3


@pytest.mark.django_db(transaction=True)
def test_of_a_restore_and_a_removal_at_once_one_wins(model, make_inference):
    """The second waits for the row's lock, and finds what the first has said."""
    make_inference(inference_id="a")
    soft_delete(model, "a")
    chosen = lambda: soft_deletion.soft_deleted(model)  # noqa: E731
    outcome = []

    def restore():
        outcome.append(soft_deletion.restore("test", model, chosen).count)
        connection.close()

    with transaction.atomic():
        assert soft_deletion.intend_removal("test", model, chosen).count == 1
        thread = threading.Thread(target=restore)
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
    thread.join(5)

    assert outcome == [0]
    assert not model.inferences.live().exists()
    removal.RECORDS.finish(model)
    assert not model.inferences.exists()
