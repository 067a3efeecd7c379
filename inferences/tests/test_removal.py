from __future__ import annotations

from collections import Counter

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from inferences.models import (
    Detection,
    InferenceKey,
    InferencePayload,
    MetadataKeyCount,
    OverflowNumber,
    RecentEmbedding,
)
from inferences.search.filters import MetadataFilter, matching
from inferences.store import removal
from inferences.store.recording import Outcome
from istore import blobs, failpoints


@pytest.fixture
def armed():
    yield failpoints.arm
    failpoints.arm("")


def everything(make_inference, **fields):
    blobs.put("1/1/2025/06/01/00/u/input", b"picture")
    blobs.put("1/1/2025/06/01/00/u/answer", b"{}")
    blobs.put("1/1/2025/06/01/00/u/metadata", b"{}")
    return make_inference(
        {f"key_{n}": n for n in range(9)},
        detections=[("ship", 0.9)],
        embedding=[1.0, 2.0],
        data_storage_key="1/1/2025/06/01/00/u/input",
        answer_storage_key="1/1/2025/06/01/00/u/answer",
        **fields,
    )


def test_all_that_belongs_to_an_inference_goes(model, make_inference, stored_objects):
    everything(make_inference, inference_id="a")

    assert removal.remove_one("test", model, "a")

    for table in (InferencePayload, Detection, RecentEmbedding, OverflowNumber):
        assert not table.objects.beside(model).exists()
    assert not model.inferences.exists()
    assert not stored_objects.keys()
    assert InferenceKey.objects.get().removed_at
    deltas = MetadataKeyCount.objects.filter(key="key_1").values_list(
        "delta", flat=True
    )
    assert sum(deltas) == 0


def test_what_is_protected_may_be_removed_by_hand(model, make_inference):
    make_inference(inference_id="a", is_protected=True)

    assert removal.remove_one("test", model, "a")


def test_a_second_removal_finds_nothing(model, make_inference):
    make_inference(inference_id="a")
    removal.remove_one("test", model, "a")

    assert not removal.remove_one("test", model, "a")


def test_another_models_row_with_the_same_id_stays(model, make_inference, project):
    from inferences.models import RegisteredModel
    from inferences.store.recording import record
    from inferences.tests.builders import new

    other = RegisteredModel.objects.create(model_id="other", project=project)
    assert record(model, [new("a")]) == record(other, [new("a")]) == {"a": Outcome.NEW}
    row = model.inferences.get()
    other.inferences.update(id=row.id)
    InferencePayload.objects.beside(other).update(id=row.id)

    removal.remove_one("test", model, "a")

    assert other.inferences.exists()
    assert InferencePayload.objects.beside(other).exists()


@pytest.mark.parametrize(
    "place",
    [
        "removal.records_intended",
        "removal.record_blobs_deleted",
        "removal.records_removed",
    ],
)
def test_a_removal_that_was_cut_off_is_hidden_and_goes_on(
    model, make_inference, armed, place, stored_objects
):
    everything(make_inference, inference_id="a")
    armed(f"{place}=raise")

    with pytest.raises(failpoints.Failure):
        removal.remove_one("test", model, "a")

    assert not model.inferences.live().exists()
    armed("")
    removal.RECORDS.finish(model)
    assert not model.inferences.exists()
    assert not stored_objects.keys()


def test_whatever_is_chosen_goes_in_batches(model, make_inference, settings):
    settings.ISTORE_REMOVAL_BATCH = 3
    for number in range(7):
        make_inference({"split": "a" if number else "b"}, inference_id=f"{number}")
    chosen = model.inferences.live().filter(string_1="a")

    batches = list(removal.intend_all("test", model, lambda: chosen.all()))
    removal.RECORDS.finish(model)

    assert [len(batch) for batch in batches] == [3, 3]
    assert model.inferences.get().inference_id == "0"


def test_each_batch_begins_where_the_last_one_ended(model, make_inference, settings):
    settings.ISTORE_REMOVAL_BATCH = 2
    rows = [make_inference({"k": "v" if n % 2 else "w"}) for n in range(10)]
    chosen = matching(model, MetadataFilter("k", "string", "=", "v"))
    with CaptureQueriesContext(connection) as seen:
        batches = list(removal.intend_all("test", model, chosen.all))
    assert [len(batch) for batch in batches] == [2, 2, 1]
    locked = [q["sql"] for q in seen.captured_queries if "FOR UPDATE" in q["sql"]]
    ids = sorted(row.id for row in rows)
    for place, sql in enumerate(locked[1:3]):
        assert f'"id" > {ids[3 + 4 * place]}' in sql


def test_what_has_no_intent_is_not_touched(model, make_inference, stored_objects):
    row = everything(make_inference, inference_id="a")

    assert removal.RECORDS.clear(model, removal.Batch([row.id])) == 0

    assert model.inferences.live().get() == row
    assert Detection.objects.beside(model).count() == 1
    assert InferenceKey.objects.get().removed_at is None


def test_intents_between_two_row_ids_are_carried_out_and_no_others(
    model, make_inference, settings
):
    settings.ISTORE_REMOVAL_BATCH = 2
    ids = [make_inference(inference_id=f"{number}").id for number in range(6)]
    for _ in removal.intend_all("test", model, model.inferences.live):
        pass

    assert removal.RECORDS.finish(model, between=(ids[1], ids[3])) == 3

    left = model.inferences.values_list("id", flat=True)
    assert sorted(left) == [ids[0], ids[4], ids[5]]


def test_what_is_hidden_is_counted_no_more_and_again_when_it_is_shown(
    model, make_inference
):
    rows = [make_inference({"gain": 0.5, "site": "a"}) for _ in range(3)]
    rows.append(make_inference({"site": 7}))

    def counted():
        found: Counter = Counter()
        for each in MetadataKeyCount.objects.all():
            found[each.key, each.type] += each.delta
        return {key: number for key, number in found.items() if number}

    before = counted()
    removal.hide(model, [rows[0].id, rows[3].id])
    hidden = counted()
    removal.count_keys(model, [rows[0].id, rows[3].id])

    assert hidden == {("gain", "float"): 2, ("site", "string"): 2}
    assert counted() == before
    assert before[("site", "int")] == 1
