"""Erasure: after it, nothing of the value is anywhere, and the report says so."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from urllib.parse import urlencode

import pytest
from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, transaction

from inferences import erasure
from inferences.erasure.matching_records import Carried
from inferences.erasure.running import count_carriers, erase, open_erasure
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
from istore import blobs, failpoints
from istore.checks import verification
from istore.db.clock import now
from istore.models import AuditEntry, Project, Role
from istore.tasks import lease_keeper
from istore.tasks.tracking import LEASE, TaskState

PERSON = "Zaphod Beeblebrox 4711"
ADDRESS = "/api/v1/projects/harbour/erasures"
OURS = {
    "history",
    "kept answers",
    "pending actuals",
    "saved views",
    "source names",
    "staged uploads",
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


def stored(make_inference, name, person=PERSON, to=None, **fields):
    """An inference with all blobs, whose marker and answer quote the person."""
    folder = f"1/1/2025/06/01/00/{uuid.uuid4()}"
    metadata = {f"key_{number}": number for number in range(9)}
    marker = {"metadata": [{"key": "person", "type": "string", "value": person}]}
    blobs.put(f"{folder}/input", person.encode())
    blobs.put(f"{folder}/answer", person.encode())
    blobs.put(f"{folder}/metadata", json.dumps(marker).encode())
    given = {"to": to} if to else {}
    return make_inference(
        {**metadata, "person": person, "story": {"of": {"name": person}}},
        inference_id=name,
        data_storage_key=f"{folder}/input",
        answer_storage_key=f"{folder}/answer",
        data=person,
        detections=[("ship", 0.9)],
        **given,
        **fields,
    )


def tables_with(text):
    """Every table of the database in which any value of any row holds the text."""
    found = []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace "
            "WHERE n.nspname = 'public' AND relkind IN ('r', 'p') AND NOT relispartition"
        )
        for (table,) in cursor.fetchall():
            cursor.execute(
                f'SELECT 1 FROM "{table}" AS t WHERE position(%s in t::text) > 0 '
                "OR position(%s in t::text) > 0 LIMIT 1",
                [text, text.encode().hex()],
            )
            if cursor.fetchone():
                found.append(table)
    return found


def files_with(text, directory):
    return [
        path
        for path in directory.rglob("*")
        if path.is_file() and text.encode() in path.read_bytes()
    ]


def asked(project, *, key="person", type="string", value=PERSON, dry_run=False):
    carried = Carried(key, type, value)
    return open_erasure("user anna", project, carried, why="", dry_run=dry_run)


def ended(task):
    task.refresh_from_db()
    return task


def test_no_trace_is_left_in_any_table_or_file(
    administrator, api, project, model, make_inference, blob_directory
):
    other = RegisteredModel.objects.create(model_id="other", project=project)
    stored(make_inference, "plain")
    stored(make_inference, "protected", is_protected=True)
    stored(make_inference, "hidden")
    stored(make_inference, "elsewhere", to=other)
    stored(make_inference, "somebody else", "Trillian")
    with transaction.atomic():
        removal.hide_records(model, model.inferences.filter(inference_id="hidden"))
    # Carried once, and no more.
    stored(make_inference, "corrected")
    metadata_edits.put_value(
        "test", model, "corrected", typed("person", "Trillian"), replace=True
    )
    metadata_edits.remove_value("test", model, "corrected", "story")
    InferencePayload.objects.filter(data=PERSON, metadata__person__1="Trillian").update(
        data=""
    )
    corrected = InferencePayload.objects.get(metadata__person__1="Trillian", data="")
    for key in (corrected.data_storage_key, corrected.answer_storage_key):
        blobs.put(key, b"of Trillian")
    # Staged, not yet stored; and an answer that is kept for repeats.
    grant = uploads.grant("test", model, uploads.METADATA)
    staged = {
        "metadata": {
            "standard_metadata": {},
            "extended_metadata": [{"key": "person", "type": "string", "value": PERSON}],
        }
    }
    blobs.put(grant.storage_key, json.dumps(staged).encode())
    body = {
        "inference_id": "created",
        "data": {
            "metadata": {
                "standard_metadata": {
                    "data_hash": hashlib.sha256(b"").hexdigest(),
                    "data_size": 0,
                    "task_type": "Object Detection",
                    "inference_action": "detect",
                },
                "extended_metadata": [
                    {"key": "person", "type": "string", "value": PERSON}
                ],
            }
        },
    }
    created = api.post(
        "/api/v1/models/yolo-harbour/inferences",
        body,
        headers={"Idempotency-Key": "k1"},
    )
    assert created.status_code == 201
    # Somebody looks for it, and an actual waits for more of it.
    for asked_for in (PERSON, "Trillian"):
        query = urlencode({"metadata": f"person:string={asked_for}"})
        model.saved_views.create(name=asked_for[:8], query=query, created_by="test")
        reference = Reference("metadata", asked_for, "person")
        PendingTruth.objects.create(
            registered_model=model,
            awaited=str(reference),
            tokens=reference.tokens,
            truth={},
            actor="test",
            set_at=now(),
        )
    assert tables_with(PERSON) and files_with(PERSON, blob_directory)

    wanted = {"key": "person", "type": "string", "value": PERSON, "why": "Article 17"}
    answer = administrator.post(ADDRESS, wanted)
    assert answer.status_code == 201
    erase(ErasureTask.objects.get())
    # JSON is a value of its own.
    leaf = {"key": "story.of.name", "type": "json.string", "value": PERSON}
    administrator.post(ADDRESS, leaf)
    erase(ErasureTask.objects.first())

    assert tables_with(PERSON) == []
    assert files_with(PERSON, blob_directory) == []
    assert PendingTruth.objects.count() == model.saved_views.count() == 1
    left = InferencePayload.objects.order_by("id").values_list("metadata__person__1")
    assert {name for (name,) in left} == {"Trillian"}
    assert InferenceKey.objects.filter(removed_at=None).count() == len(left) == 2
    report = administrator.get(f"{ADDRESS}/{answer.json()['id']}").json()
    assert report["state"] == "complete"
    assert report["report"]["found"]["records"] == 5
    assert report["report"]["erased"] == {
        "records": 5,
        "protected": 1,
        "soft_deleted": 1,
        "objects": 12,
    }
    assert report["report"]["left"]["records"] == 0
    assert report["report"]["proof"] == {"looked_for": 17, "left": 0}
    traces = report["report"]["traces"]
    assert traces == {
        "history": 1,
        "kept answers": 1,
        "pending actuals": 1,
        "saved views": 1,
        "source names": 0,
        "staged uploads": 1,
    }
    assert PERSON not in json.dumps(report)
    monitor = verification.report(verification.Scope(now(), project=project))
    kinds = {each.kind for each in monitor.findings()}
    assert not kinds - {
        "size-differs",
        "missing",
    }  # the blobs of this test lie elsewhere


def test_who_knows_the_value_or_an_id_can_prove_it(
    administrator, project, make_inference
):
    stored(make_inference, "a")
    task = asked(project)
    erase(task)

    told = administrator.get(f"{ADDRESS}/{task.pk}").json()
    said = bytes.fromhex(told["salt"]) + f"\0person\0string\0{PERSON}".encode()
    assert hashlib.sha256(said).hexdigest() == told["value_digest"]
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

    assert ended(task).state == TaskState.COMPLETE
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
    erase(asked(project, key=key, type=type, value=value))

    assert [each.inference_id for each in model.inferences.all()] == ["other"]


def test_a_data_source_is_erased_by_its_name(project, model, make_inference):
    make_inference(inference_id="a", data_source="camera of Z")
    make_inference(inference_id="b", data_source="camera of T")

    erase(asked(project, key="data_source", value="camera of Z"))

    assert model.inferences.get().inference_id == "b"
    assert tables_with("camera of Z") == []


def test_another_project_is_not_touched(project, make_inference):
    other = RegisteredModel.objects.create(
        model_id="theirs", project=Project.objects.create(project_id="theirs")
    )
    stored(make_inference, "a", to=other)

    erase(asked(project))

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
    asked_for: list[int] = []
    holder = erasure.TraceHolder(of_records=lambda _, ids: asked_for.extend(ids) or 0)
    monkeypatch.setitem(erasure.trace_holders, "made of it", holder)
    for number in range(5):
        stored(make_inference, f"{number}")
    ids = list(model.inferences.values_list("id", flat=True))
    task = asked(project)
    # Killed: nothing of what follows a failure is written.
    monkeypatch.setattr(ErasureTask, "release", lambda *_: None)
    armed(f"{place}=raise")
    erase(ErasureTask.objects.get(pk=task.pk))
    assert ended(task).state == TaskState.RUNNING
    armed("")
    ErasureTask.objects.update(lease_until=now() - LEASE)
    removal.RECORDS.finish(model)  # the beat may come first

    erase(ErasureTask.objects.get(pk=task.pk))

    assert ended(task).state == TaskState.COMPLETE
    assert task.report["erased"]["records"] == task.erased_count == 5
    assert task.erased.count() == 5
    assert task.report["proof"]["left"] == task.report["left"]["records"] == 0
    assert set(asked_for) == set(ids)  # each was told to those who keep what is made
    assert tables_with(PERSON) == []


def test_an_erasure_that_is_stopped_forgets_the_value(administrator, project):
    task = asked(project)

    answer = administrator.post(f"{ADDRESS}/{task.pk}/stop")

    assert answer.json()["state"] == "stopped"
    assert ended(task).value == ""
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
    tasks = [str(asked(project, value=f"{number}").pk) for number in range(5)]

    met, query = [], "?limit=2"
    while query:
        page = administrator.get(f"{ADDRESS}{query}").json()
        met += [each["id"] for each in page["results"]]
        query = page["next"] and f"?limit=2&cursor={page['next']}"

    assert met == tasks[::-1]


def test_counting_needs_no_value_that_anybody_has(project, model):
    counted = count_carriers(project, Carried("nobody", "string", "x"))

    assert set(counted.values()) == {0}
    assert json.dumps(counted, cls=DjangoJSONEncoder)


@pytest.mark.django_db(transaction=True)
def test_the_lease_is_kept_while_other_places_are_searched(
    project, model, make_inference, monkeypatch
):
    monkeypatch.setattr(lease_keeper, "RENEW_SECONDS", 0.05)
    monkeypatch.setattr(ErasureTask, "notify", lambda task: None)
    seen = []

    def slow(*_):
        for _ in range(2):
            seen.append(ErasureTask.objects.get().lease_until)
            time.sleep(0.3)
        return 0

    monkeypatch.setitem(
        erasure.trace_holders, "slow", erasure.TraceHolder(of_value=slow)
    )
    task = asked(project)
    erase(task)

    assert ended(task).state == TaskState.COMPLETE
    assert seen[1] > seen[0]
    assert task.lease_until is None
