"""Erasure: after it, nothing of the value is anywhere, and the report says so."""

from __future__ import annotations

import hashlib
import json
import time
from urllib.parse import urlencode

import pytest
from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, transaction

from inferences import erasure
from inferences.erasure.matching_records import Carried
from inferences.erasure.running import count_meant, erase
from inferences.erasure.traces import former_values
from inferences.ground_truth.references import Reference
from inferences.models import (
    InferenceKey,
    InferencePayload,
    PendingTruth,
    RegisteredModel,
)
from inferences.models.erasure import ErasureTask
from inferences.store import metadata_edits, removal, uploads
from inferences.tests.builders import typed
from inferences.tests.erasure_builders import (
    PERSON,
    objects_with,
    open_task,
    stored,
    tables_with,
)
from istore import blobs, failpoints
from istore.checks import verification
from istore.db.clock import now
from istore.models import AuditEntry, Project, Role
from istore.tasks import lease_keeper
from istore.tasks.tracking import LEASE, TaskState

ADDRESS = "/api/v1/projects/harbour/erasures"
OURS = {
    "history",
    "kept answers",
    "pending actuals",
    "saved views",
    "segments",
    "source names",
    "staged uploads",
}
METADATA = {
    "standard_metadata": {
        "data_hash": hashlib.sha256(b"").hexdigest(),
        "data_size": 0,
        "task_type": "Object Detection",
        "inference_action": "detect",
    },
    "extended_metadata": [{"key": "person", "type": "string", "value": PERSON}],
}


@pytest.fixture
def armed():
    yield failpoints.arm
    failpoints.arm("")


@pytest.fixture
def administrator(api_as):
    return api_as(Role.ADMINISTRATOR)


@pytest.fixture(autouse=True)
def only_ours(monkeypatch):
    """What other apps keep is tested there."""
    for name in set(erasure.trace_holders) - OURS:
        monkeypatch.delitem(erasure.trace_holders, name)


def finished(task):
    task.refresh_from_db()
    return task


def traces():
    return tables_with(PERSON) + objects_with(PERSON)


def erase_everywhere(project):
    """Erase the person as a string and, because JSON values are apart, as a JSON leaf."""
    task = open_task(project)
    erase(task)
    erase(open_task(project, key="story.of.name", type="json.string"))
    return finished(task)


def test_no_trace_of_a_record_is_left_in_any_table_or_file(project, make_inference):
    stored(make_inference, "plain")
    assert traces()

    task = erase_everywhere(project)

    assert traces() == []
    assert task.report["erased"] == {
        "records": 1,
        "protected": 0,
        "soft_deleted": 0,
        "objects": 3,
    }
    assert task.report["proof"] == {"looked_for": 4, "left": 0}


def test_protected_and_soft_deleted_records_are_erased_too(
    project, model, make_inference
):
    stored(make_inference, "protected", is_protected=True)
    stored(make_inference, "hidden")
    with transaction.atomic():
        removal.hide_records(model, model.inferences.filter(inference_id="hidden"))

    task = erase_everywhere(project)

    assert traces() == []
    assert task.report["erased"]["protected"] == 1
    assert task.report["erased"]["soft_deleted"] == 1


def test_records_of_every_model_of_the_project_are_erased(
    project, model, make_inference
):
    other = RegisteredModel.objects.create(model_id="other", project=project)
    stored(make_inference, "here")
    stored(make_inference, "elsewhere", to=other)

    task = erase_everywhere(project)

    assert traces() == []
    assert task.report["erased"]["records"] == 2


def test_records_with_another_value_stay(project, model, make_inference):
    stored(make_inference, "a")
    stored(make_inference, "somebody else", "Trillian")

    erase_everywhere(project)

    assert model.inferences.get().inference_id == "somebody else"
    assert InferenceKey.objects.get(removed_at=None).inference_id == "somebody else"
    assert len(objects_with("Trillian")) == 3


def test_a_corrected_record_stays_without_its_history_and_marker(
    project, model, make_inference
):
    stored(make_inference, "corrected")
    metadata_edits.put_value(
        "test", model, "corrected", typed("person", "Trillian"), replace=True
    )
    metadata_edits.remove_value("test", model, "corrected", "story")
    InferencePayload.objects.update(data="")
    payload = InferencePayload.objects.get()
    for key in (payload.data_storage_key, payload.answer_storage_key):
        blobs.put(key, b"of Trillian")
    assert tables_with(PERSON) == ["inferences_metadatachange"]
    assert len(objects_with(PERSON)) == 1

    task = erase_everywhere(project)

    assert traces() == []
    assert task.report["traces"]["history"] == 1
    assert InferencePayload.objects.get().metadata["person"][1] == "Trillian"


@pytest.mark.django_db(transaction=True)
def test_no_transaction_is_open_while_the_object_of_a_marker_is_deleted(
    project, model, make_inference, monkeypatch
):
    stored(make_inference, "corrected")
    metadata_edits.put_value(
        "test", model, "corrected", typed("person", "Trillian"), replace=True
    )
    delete, open_ones = blobs.delete, []

    def look(keys):
        open_ones.append(connection.in_atomic_block)
        delete(keys)

    monkeypatch.setattr(blobs, "delete", look)
    assert former_values(project, Carried("person", "string", PERSON)) == 1
    assert open_ones == [False]


def test_a_staged_upload_with_the_value_is_erased(project, model):
    grant = uploads.grant("test", model, uploads.METADATA)
    blobs.put(grant.storage_key, json.dumps({"metadata": METADATA}).encode())
    assert traces()

    task = erase_everywhere(project)

    assert traces() == []
    assert task.report["traces"]["staged uploads"] == 1


def test_an_answer_kept_for_repeats_is_erased(api, project, model):
    body = {"inference_id": "created", "data": {"metadata": METADATA}}
    created = api.post(
        "/api/v1/models/yolo-harbour/inferences",
        body,
        headers={"Idempotency-Key": "k1"},
    )
    assert created.status_code == 201
    assert "istore_idempotentcall" in tables_with(PERSON)

    task = erase_everywhere(project)

    assert traces() == []
    assert task.report["traces"]["kept answers"] == 1


def test_views_and_waiting_ground_truth_that_name_the_value_are_erased(project, model):
    for person in (PERSON, "Trillian"):
        query = urlencode({"metadata": f"person:string={person}"})
        model.saved_views.create(name=person[:8], query=query, created_by="test")
        reference = Reference("metadata", person, "person")
        PendingTruth.objects.create(
            registered_model=model,
            awaited=str(reference),
            tokens=reference.tokens,
            truth={},
            actor="test",
            set_at=now(),
        )

    task = erase_everywhere(project)

    assert traces() == []
    assert task.report["traces"]["saved views"] == 1
    assert task.report["traces"]["pending actuals"] == 1
    assert model.saved_views.get().name == "Trillian"
    assert "Trillian" in PendingTruth.objects.get().awaited


def test_the_report_counts_what_went_and_does_not_quote_the_value(
    administrator, project, make_inference
):
    stored(make_inference, "a")
    wanted = {"key": "person", "type": "string", "value": PERSON, "why": "Article 17"}
    answer = administrator.post(ADDRESS, wanted)
    assert answer.status_code == 201

    erase(ErasureTask.objects.get())

    shown = administrator.get(f"{ADDRESS}/{answer.json()['id']}").json()
    assert shown["state"] == "complete"
    assert shown["report"]["found"]["records"] == 1
    assert shown["report"]["erased"]["records"] == 1
    assert shown["report"]["left"]["records"] == 0
    assert shown["report"]["traces"] == dict.fromkeys(OURS, 0)
    assert PERSON not in json.dumps(shown)


def test_the_store_is_consistent_after_an_erasure(project, model, make_inference):
    stored(make_inference, "a")
    stored(make_inference, "protected", is_protected=True)
    make_inference({"person": "Trillian"}, inference_id="stays")

    erase_everywhere(project)

    assert model.inferences.get().inference_id == "stays"
    report = verification.report(verification.Scope(now(), project=project))
    assert list(report.findings()) == []
    assert not report.unfinished


def test_who_knows_the_value_or_an_id_can_prove_it(
    administrator, project, make_inference
):
    stored(make_inference, "a")
    task = open_task(project)
    erase(task)

    shown = administrator.get(f"{ADDRESS}/{task.pk}").json()
    salted = bytes.fromhex(shown["salt"]) + f"\0person\0string\0{PERSON}".encode()
    assert hashlib.sha256(salted).hexdigest() == shown["value_digest"]
    for name, included in (("a", True), ("b", False)):
        body = {"model_id": "yolo-harbour", "inference_id": name}
        answer = administrator.post(f"{ADDRESS}/{task.pk}/included", body)
        assert answer.json() == {"included": included}


def test_a_dry_run_counts_and_removes_nothing(
    administrator, project, model, make_inference
):
    stored(make_inference, "a", is_protected=True, data_size=7)
    audited = AuditEntry.objects.count()
    wanted = {"key": "person", "type": "string", "value": PERSON, "dry_run": True}

    administrator.post(ADDRESS, wanted)
    task = ErasureTask.objects.get()
    erase(task)

    assert finished(task).state == TaskState.COMPLETE
    assert task.report == {
        "found": {
            "records": 1,
            "protected": 1,
            "soft_deleted": 0,
            "inputs": 1,
            "bytes": 7,
        }
    }
    assert task.value == ""
    assert model.inferences.live().count() == 1
    assert AuditEntry.objects.count() == audited


@pytest.mark.parametrize(
    ("key", "type", "value", "given"),
    [
        ("n", "int", "5", {"n": 5}),
        ("x", "float", "0.5", {"x": 0.5}),
        ("story.of", "json.string", "me", {"story": {"of": "me"}}),
        ("story.of", "json.int", "5", {"story": {"of": "5"}}),
        ("story.0", "json.string", "me", {"story": ["me"]}),
        ("story.of", "json.float", "0.5", {"story": {"of": 0.5}}),
        ("name", "string", "x" * 600, {"name": "x" * 600}),
    ],
)
def test_values_of_every_type_are_met(
    project, model, make_inference, key, type, value, given
):
    make_inference(given, inference_id="carries")
    make_inference(dict.fromkeys(given, "other"), inference_id="other")
    payload = InferencePayload.objects.beside(model).order_by("id").first()

    ((_, kept),) = payload.metadata.items()
    assert Carried(key, type, value).is_in(kept)
    erase(open_task(project, key=key, type=type, value=value))

    assert [each.inference_id for each in model.inferences.all()] == ["other"]


def test_a_data_source_is_erased_by_its_name(project, model, make_inference):
    make_inference(inference_id="a", data_source="camera of Z")
    make_inference(inference_id="b", data_source="camera of T")

    erase(open_task(project, key="data_source", value="camera of Z"))

    assert model.inferences.get().inference_id == "b"
    assert tables_with("camera of Z") == []


def test_another_project_is_not_touched(project, make_inference):
    other = RegisteredModel.objects.create(
        model_id="theirs", project=Project.objects.create(project_id="theirs")
    )
    stored(make_inference, "a", to=other)

    erase(open_task(project))

    assert other.inferences.live().count() == 1


PLACES = [
    "erasure.intended:2",
    "erasure.made_removed:1",
    "removal.record_blobs_deleted:2",
    "removal.records_removed:1",
    "erasure.batch_removed:2",
    "erasure.records_removed:1",
    "erasure.traces_removed:1",
    "erasure.proved:1",
]


@pytest.mark.parametrize("place", PLACES)
def test_a_worker_that_dies_leaves_the_rest_to_the_next(
    project, model, make_inference, settings, armed, place, monkeypatch
):
    settings.ISTORE_REMOVAL_BATCH = 2
    row_ids: list[int] = []
    holder = erasure.TraceHolder(of_records=lambda _, ids: row_ids.extend(ids) or 0)
    monkeypatch.setitem(erasure.trace_holders, "made of it", holder)
    for number in range(5):
        stored(make_inference, f"{number}")
    ids = list(model.inferences.values_list("id", flat=True))
    task = open_task(project)
    # Killed: nothing of what follows a failure is written.
    monkeypatch.setattr(ErasureTask, "release", lambda *_: None)
    armed(f"{place}=raise")
    erase(ErasureTask.objects.get(pk=task.pk))
    assert finished(task).state == TaskState.RUNNING
    armed("")
    ErasureTask.objects.update(lease_until=now() - LEASE)
    removal.RECORDS.finish(model)  # the beat may come first

    erase(ErasureTask.objects.get(pk=task.pk))

    assert finished(task).state == TaskState.COMPLETE
    assert task.report["erased"]["records"] == task.erased_count == 5
    assert task.erased.count() == 5
    assert task.report["proof"]["left"] == task.report["left"]["records"] == 0
    assert set(row_ids) == set(ids)
    assert tables_with(PERSON) == []


def test_an_erasure_that_is_stopped_forgets_the_value(administrator, project):
    task = open_task(project)

    answer = administrator.post(f"{ADDRESS}/{task.pk}/stop")

    assert answer.json()["state"] == "stopped"
    assert finished(task).value == ""
    assert not task.resume()


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({}, "/key"),
        ({"key": "k", "type": "string", "value": ""}, "/value"),
        ({"key": "", "type": "string", "value": "v"}, "/key"),
        ({"key": "k", "type": "int", "value": "many"}, "/value"),
        ({"key": "k", "type": "json", "value": "{}"}, "/type"),
        ({"key": "k", "type": "string", "value": 3}, "/value"),
        ({"key": "latitude", "type": "float", "value": "3"}, "/value"),
        ({"key": "k", "type": "string", "value": "v", "all": True}, "/all"),
    ],
)
def test_what_cannot_be_read_erases_nothing(administrator, project, body, place):
    answer = administrator.post(ADDRESS, body)

    assert answer.status_code == 400
    assert place in [each["pointer"] for each in answer.json()["errors"]]
    assert not ErasureTask.objects.exists()


def test_only_administrators_of_the_project_erase(api, api_as, project):
    wanted = {"key": "person", "type": "string", "value": PERSON}
    other = Project.objects.create(project_id="other")

    assert api.post(ADDRESS, wanted).status_code == 403
    assert api_as(Role.ADMINISTRATOR, other).post(ADDRESS, wanted).status_code == 404
    assert not ErasureTask.objects.exists()


def test_the_list_follows_its_cursor(administrator, project):
    tasks = [str(open_task(project, value=f"{number}").pk) for number in range(5)]

    met, query = [], "?limit=2"
    while query:
        page = administrator.get(f"{ADDRESS}{query}").json()
        met += [each["id"] for each in page["results"]]
        query = page["next"] and f"?limit=2&cursor={page['next']}"

    assert met == tasks[::-1]


def test_counting_needs_no_value_that_anybody_has(project, model):
    counted = count_meant(project, Carried("nobody", "string", "x"))

    assert set(counted.values()) == {0}
    assert json.dumps(counted, cls=DjangoJSONEncoder)


@pytest.mark.django_db(transaction=True)
def test_the_lease_is_kept_while_other_places_are_searched(
    project, model, make_inference, queue, monkeypatch
):
    monkeypatch.setattr(lease_keeper, "RENEW_SECONDS", 0.05)
    seen = []

    def slow(*_):
        for _ in range(2):
            seen.append(ErasureTask.objects.get().lease_until)
            time.sleep(0.3)
        return 0

    monkeypatch.setitem(
        erasure.trace_holders, "slow", erasure.TraceHolder(of_value=slow)
    )
    task = open_task(project)
    erase(task)

    assert finished(task).state == TaskState.COMPLETE
    assert seen[1] > seen[0]
    assert task.lease_until is None
