"""Verification: nothing on a healthy store, and each kind of damage that is planted."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.db.models.functions import Now

from inferences.maintenance import orphan_blobs
from inferences.models import (
    Detection,
    Inference,
    InferenceKey,
    InferencePayload,
    MetadataChange,
    MetadataKeyCount,
    OverflowNumber,
    RecentEmbedding,
    RegisteredModel,
    UploadGrant,
)
from inferences.store import removal, soft_deletion, uploads
from istore import blobs, failpoints
from istore.checks import verification
from istore.db.clock import now
from istore.models import Project

PICTURE, ANSWER = b"picture", b'{"outputs": []}'
LONG_AGO = 30 * 3600


@pytest.fixture
def armed():
    yield failpoints.arm
    failpoints.arm("")


@pytest.fixture
def quiet(monkeypatch):
    """Nothing of a stream: what the ingest app asks there is tested there."""
    monkeypatch.delitem(orphan_blobs.fates, "ingest")
    for name in ("consumers", "spool files"):
        monkeypatch.delitem(verification.checks, name)


@pytest.fixture
def folder(model):
    return blobs.prefix_for(
        model.project_id, model.pk, Inference(id=0).created_at.replace(year=2025), "u1"
    )


@pytest.fixture
def healthy(quiet, model, make_inference, project, folder):
    """Records of every kind: with all their blobs, with an expired input, soft-deleted,
    protected, removed; and an upload that waits."""
    marker = {"answer": {"sha256": hashlib.sha256(ANSWER).hexdigest()}}
    for name, content in (
        ("input", PICTURE),
        ("answer", ANSWER),
        ("metadata", json.dumps(marker).encode()),
    ):
        blobs.put(f"{folder}/{name}", content)
    full = {
        "metadata": {f"key_{number}": number for number in range(10)},
        "detections": [("ship", 0.9), ("ship", 0.9), ("crane", None)],
        "embedding": [1.0, 2.0],
        "data_size": len(PICTURE),
    }
    row = make_inference(
        inference_id="full",
        data_storage_key=f"{folder}/input",
        answer_storage_key=f"{folder}/answer",
        is_protected=True,
        **full,
    )
    MetadataChange.objects.create(
        registered_model=model, row_id=row.id, key="k", actor="test"
    )
    for name in ("expired", "hidden", "gone"):
        make_inference(inference_id=name, **full)
    with transaction.atomic():
        removal.hide_records(model, model.inferences.filter(inference_id="hidden"))
    removal.remove_one("test", model, "gone")
    grant = uploads.grant("test", model, uploads.DATA)
    blobs.put(grant.storage_key, PICTURE)
    return row


def verify(**scope):
    report = verification.report(verification.Scope(now(), **scope))
    found = list(report.findings())
    assert not report.unfinished
    return found


def kinds(found):
    return sorted({finding.kind for finding in found})


def test_a_healthy_store_is_clean(healthy, stored_objects):
    stored_objects.age()

    assert verify() == verify(deep=True) == verify(repair=True) == verify() == []


def test_an_empty_store_is_clean(db, quiet):
    assert verify(deep=True) == []


def plant_input_missing(model, row, folder, objects):
    blobs.delete([f"{folder}/input"])


def plant_answer_missing(model, row, folder, objects):
    blobs.delete([f"{folder}/answer"])


def plant_marker_missing(model, row, folder, objects):
    blobs.delete([f"{folder}/metadata"])


def plant_other_size(model, row, folder, objects):
    blobs.put(f"{folder}/input", b"longer picture")


def plant_unnamed_beside(model, row, folder, objects):
    blobs.put(f"{folder}/thumbnail", b"x")


def plant_unnamed_folder(model, row, folder, objects):
    blobs.put(f"{folder[:-2]}u2/input", b"x")


def plant_unnamed_in_an_odd_hour(model, row, folder, objects):
    blobs.put(f"{model.project_id}/{model.pk}/1999/12/31/23/u/input", b"x")


def plant_of_no_model(model, row, folder, objects):
    blobs.put(f"{model.project_id}/{model.pk + 99}/2025/01/01/00/u/input", b"x")


def plant_of_no_project(model, row, folder, objects):
    blobs.put(f"{model.project_id + 99}/{model.pk}/2025/01/01/00/u/input", b"x")


def plant_unrecorded(model, row, folder, objects):
    for kind in ("input", "answer", "metadata"):
        blobs.put(f"{folder[:-2]}u2/{kind}", b"{}")


def plant_partial(model, row, folder, objects):
    objects.write(f"{folder}/.input.0123456789ab.partial", b"pic")


def plant_partial_upload(model, row, folder, objects):
    place = f"uploads/{model.project_id}/{model.pk}/u"
    objects.write(f"{place}/.input.0123.partial", b"pic")


def plant_staged_without_grant(model, row, folder, objects):
    UploadGrant.objects.all().delete()


def plant_expired_grant(model, row, folder, objects):
    UploadGrant.objects.update(expires_at=now() - timedelta(hours=25))


def plant_payload_missing(model, row, folder, objects):
    InferencePayload.objects.beside(model).filter(id=row.id).delete()


def _drop_row(model, row):
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM inferences_inference WHERE model_key = %s AND id = %s",
            [model.pk, row.id],
        )


def plant_row_missing(model, row, folder, objects):
    _drop_row(model, row)


def plant_key_missing(model, row, folder, objects):
    InferenceKey.objects.filter(inference_id="full").delete()


def plant_key_removed(model, row, folder, objects):
    InferenceKey.objects.filter(inference_id="full").update(removed_at=Now())


def plant_detection_missing(model, row, folder, objects):
    Detection.objects.beside(model).filter(id=row.id, score=None).delete()


def plant_detection_too_many(model, row, folder, objects):
    Detection.objects.bulk_create(
        [Detection(id=row.id, registered_model=model, label_id=1)]
    )


def plant_side_rows_alone(model, row, folder, objects):
    one = OverflowNumber.objects.beside(model).filter(id=row.id).first()
    OverflowNumber.objects.bulk_create(
        [OverflowNumber(id=7, registered_model=model, key_id=one.key_id, value=1)]
    )
    RecentEmbedding.objects.bulk_create(
        [RecentEmbedding(id=7, registered_model=model, vector=[1, 2])]
    )
    MetadataChange.objects.create(
        registered_model=model, row_id=7, key="k", actor="test"
    )
    Detection.objects.bulk_create([Detection(id=7, registered_model=model, label_id=1)])


def plant_count(model, row, folder, objects):
    MetadataKeyCount.objects.create(
        registered_model=model, key="key_1", type="int", delta=1
    )


def plant_count_lost(model, row, folder, objects):
    MetadataKeyCount.objects.all().delete()


def plant_hidden(model, row, folder, objects):
    removal.hide(model, [row.id])


def plant_shown(model, row, folder, objects):
    InferencePayload.objects.beside(model).filter(id=row.id).update(deleted_at=Now())


def plant_protected_hidden(model, row, folder, objects):
    removal.hide(model, [row.id])
    InferencePayload.objects.beside(model).filter(id=row.id).update(deleted_at=Now())


def plant_protected_expiring(model, row, folder, objects):
    InferencePayload.objects.beside(model).filter(id=row.id).update(
        input_removal_at=Now()
    )


def plant_old_intent(model, row, folder, objects):
    other = model.inferences.get(inference_id="expired")
    removal.hide(model, [other.id])
    InferencePayload.objects.beside(model).filter(id=other.id).update(
        removal_at=Now() - timedelta(hours=2)
    )


def plant_old_input_intent(model, row, folder, objects):
    model.inferences.update(is_protected=False)
    InferencePayload.objects.beside(model).filter(id=row.id).update(
        input_removal_at=Now() - timedelta(hours=2)
    )


REPAIRABLE = [
    # what is planted, and what is found
    (plant_unnamed_beside, ["unnamed"]),
    (plant_unnamed_folder, ["unnamed"]),
    (plant_unnamed_in_an_odd_hour, ["unnamed"]),
    (plant_of_no_model, ["of-no-model"]),
    (plant_of_no_project, ["of-no-model"]),
    (plant_partial, ["partial"]),
    (plant_partial_upload, ["partial"]),
    (plant_staged_without_grant, ["unnamed"]),
    (plant_expired_grant, ["grant-expired"]),
    (plant_key_missing, ["without-key"]),
    (plant_key_removed, ["without-key"]),
    (plant_detection_missing, ["detections-differ"]),
    (plant_detection_too_many, ["detections-differ"]),
    (
        plant_side_rows_alone,
        [
            "detection-alone",
            "history-alone",
            "number-alone",
            "recent embedding-alone",
        ],
    ),
    (plant_count, ["counts-differ"]),
    (plant_count_lost, ["counts-differ"]),
    (plant_protected_hidden, ["protected-but-hidden"]),
    (plant_protected_expiring, ["protected-but-expiring"]),
    (plant_old_intent, ["intent-open"]),
    (plant_old_input_intent, ["intent-open"]),
]
NOT_REPAIRABLE = [
    # what is planted, what is found, and what is still found after a repair
    (plant_input_missing, ["missing"], ["missing"]),
    (plant_answer_missing, ["missing"], ["missing"]),
    (plant_marker_missing, ["missing"], ["missing"]),
    (plant_other_size, ["size-differs"], ["size-differs"]),
    (plant_unrecorded, ["unrecorded"], ["unrecorded"]),
    (
        plant_payload_missing,
        ["counts-differ", "unrecorded", "without-payload"],
        ["unrecorded", "without-payload"],
    ),
    (
        plant_row_missing,
        [
            "counts-differ",
            "detection-alone",
            "history-alone",
            "key-alone",
            "number-alone",
            "payload-alone",
            "recent embedding-alone",
        ],
        ["unrecorded"],  # of what a removed row named, only its objects are left
    ),
    # The record is protected, so a repair that agrees with its payload hides it,
    # and the next one shows it.
    (plant_hidden, ["hidden-for-no-reason"], ["protected-but-hidden"]),
    (plant_shown, ["deleted-but-shown"], ["protected-but-hidden"]),
]
DAMAGE = REPAIRABLE + [damage[:2] for damage in NOT_REPAIRABLE]


def each_of(names, damages):
    ids = [damage[0].__name__.removeprefix("plant_") for damage in damages]
    return pytest.mark.parametrize(names, damages, ids=ids)


@each_of(("plant", "expected"), DAMAGE)
def test_each_damage_is_found_and_looking_changes_nothing(
    healthy, model, folder, stored_objects, plant, expected
):
    plant(model, healthy, folder, stored_objects)
    stored_objects.age()

    found = verify()

    assert kinds(found) == expected
    assert not any(finding.repaired for finding in found)
    assert kinds(verify()) == expected


@each_of(("plant", "expected"), REPAIRABLE)
def test_a_repair_of_what_can_be_repaired_leaves_a_clean_store(
    healthy, model, folder, stored_objects, plant, expected
):
    plant(model, healthy, folder, stored_objects)
    stored_objects.age()

    repaired = verify(repair=True)

    assert kinds(repaired) == expected
    assert all(finding.repaired for finding in repaired)
    assert verify(deep=True) == []


@each_of(("plant", "expected", "remaining"), NOT_REPAIRABLE)
def test_what_a_repair_cannot_mend_is_still_found_after_it(
    healthy, model, folder, stored_objects, plant, expected, remaining
):
    plant(model, healthy, folder, stored_objects)
    stored_objects.age()

    repaired = verify(repair=True)

    assert set(expected) <= set(kinds(repaired))
    assert kinds(verify()) == remaining


PROTECTED = [
    damage
    for damage in DAMAGE
    if damage[0] not in (plant_row_missing, plant_old_input_intent)
]


@each_of(("plant", "expected"), PROTECTED)
def test_a_repair_keeps_a_protected_record(
    healthy, model, folder, stored_objects, plant, expected
):
    plant(model, healthy, folder, stored_objects)
    stored_objects.age()

    verify(repair=True)

    assert model.inferences.get(inference_id="full").is_protected


def test_only_a_deep_look_sees_other_bytes(healthy, folder, stored_objects):
    blobs.put(f"{folder}/input", b"pictore")
    blobs.put(f"{folder}/answer", b'{"outputs": {}}')

    assert verify() == []
    assert kinds(verify(deep=True)) == ["hash-differs"]
    assert len(verify(deep=True)) == 2


def test_what_is_young_is_left_alone(healthy, model, folder, stored_objects):
    for plant in (
        plant_unnamed_folder,
        plant_unnamed_beside,
        plant_partial,
        plant_partial_upload,
        plant_of_no_model,
        plant_unrecorded,
    ):
        plant(model, healthy, folder, stored_objects)
    before = stored_objects.keys()

    assert verify(repair=True) == []
    assert stored_objects.keys() == before


def test_another_projects_objects_are_not_looked_at(healthy, model, folder):
    other = Project.objects.create(project_id="other")
    count = MetadataKeyCount(registered_model=model, key="k", type="int", delta=1)
    count.save()

    assert verify(project=other) == []
    assert kinds(verify(project=model.project)) == ["counts-differ"]


def test_since_leaves_out_what_is_older(healthy, model, folder, stored_objects):
    plant_unnamed_folder(model, healthy, folder, stored_objects)
    plant_key_missing(model, healthy, folder, stored_objects)
    stored_objects.age()

    assert verify(since=now()) == []
    assert len(verify(since=now() - timedelta(days=3650))) == 2


def test_a_put_in_progress_is_never_collected(
    healthy, model, folder, stored_objects, make_inference
):
    """Its blobs lie there, its record does not yet; then it comes."""
    key = f"{folder[:-2]}u9/input"
    blobs.put(key, PICTURE)
    verification.run(verification.COLLECT)

    make_inference(inference_id="late", data_storage_key=key, data_size=len(PICTURE))
    stored_objects.age()
    verification.run(verification.COLLECT)

    assert blobs.get(key) == PICTURE
    assert verify(deep=True) == []


def test_a_record_far_from_its_objects_hour_keeps_them(
    healthy, model, folder, stored_objects, make_inference
):
    """A clock that was corrected, by more than the hours that are looked at first."""
    key = f"{model.project_id}/{model.pk}/2001/01/01/00/u9/input"
    blobs.put(key, PICTURE)
    make_inference(inference_id="odd", data_storage_key=key, data_size=len(PICTURE))
    stored_objects.age()

    assert verify(repair=True) == []
    assert blobs.get(key) == PICTURE


def test_the_collector_removes_what_is_left_behind_and_nothing_else(
    healthy, model, folder, stored_objects
):
    plant_unnamed_folder(model, healthy, folder, stored_objects)
    plant_of_no_model(model, healthy, folder, stored_objects)
    plant_count(model, healthy, folder, stored_objects)
    stored_objects.age()

    run = verification.run(verification.COLLECT)

    assert run.found == {"unnamed": 1} and run.repaired == 1
    assert kinds(verify()) == ["counts-differ", "of-no-model"]


def test_ended_uploads_are_collected(healthy, model, stored_objects):
    bound = uploads.grant("test", model, uploads.DATA)
    blobs.put(bound.storage_key, PICTURE)
    rows = UploadGrant.objects.filter(storage_key=bound.storage_key)
    rows.update(bound_at=now() - timedelta(hours=2))
    ended = UploadGrant.objects.exclude(storage_key=bound.storage_key)
    ended.update(expires_at=now() - timedelta(hours=2))

    assert orphan_blobs.collect_uploads(now()) == 1
    assert rows.get().bound_at  # a second create is still told why not
    assert not list(blobs.walk("uploads/"))
    assert not ended.exists()


def test_a_collection_that_was_killed_goes_on(healthy, model, stored_objects, armed):
    UploadGrant.objects.update(expires_at=now() - timedelta(hours=25))
    armed("collecting.staged_removed=raise")
    with pytest.raises(failpoints.Failure):
        orphan_blobs.collect_uploads(now())
    armed("")

    assert orphan_blobs.collect_uploads(now()) == 1
    assert verify() == []


def test_a_repair_that_breaks_off_is_finished_by_the_next(
    quiet, model, folder, stored_objects, armed
):
    for name in ("input", "answer"):
        blobs.put(f"{folder}/{name}", b"of nobody")
    stored_objects.age()
    armed("collecting.removed=raise")
    broken = verification.report(verification.Scope(now(), repair=True))
    list(broken.findings())
    assert broken.unfinished == {"unnamed objects": "Failure: collecting.removed"}
    armed("")
    verify(repair=True)
    assert verify() == []
    assert not list(blobs.walk(f"{folder}/"))


PLACES = [
    "removal.records_intended",
    "removal.record_blobs_deleted",
    "removal.records_removed",
    "removal.inputs_deleted",
    "removal.inputs_cleared",
    "recording.written",
    "restoring.restored",
    "restoring.intended",
    "protection.written",
]


@pytest.mark.parametrize("place", PLACES)
def test_after_a_crash_at_any_step_repair_leaves_a_clean_store(
    healthy, model, folder, stored_objects, make_inference, armed, place
):
    from inferences.store import protection

    def everything():
        make_inference({"k": "v"}, inference_id="new")
        protection.protect_one("test", model, "full", protection.Protection(False))
        with transaction.atomic():
            removal.INPUTS.intend(model, model.inferences.live())
        removal.INPUTS.finish(model)
        hidden = lambda: soft_deletion.soft_deleted(model)  # noqa: E731
        soft_deletion.restore("test", model, hidden)
        with transaction.atomic():
            removal.hide_records(model, model.inferences.live())
        soft_deletion.intend_removal("test", model, hidden)
        removal.RECORDS.finish(model)
        make_inference(inference_id="last")
        removal.remove_one("test", model, "last")

    armed(f"{place}=raise")
    with pytest.raises(failpoints.Failure):
        everything()
    armed("")
    InferencePayload.objects.exclude(removal_at=None).update(
        removal_at=Now() - timedelta(hours=2)
    )
    InferencePayload.objects.exclude(input_removal_at=None).update(
        input_removal_at=Now() - timedelta(hours=2)
    )
    stored_objects.age()

    assert all(finding.repaired for finding in verify(repair=True))
    assert verify(deep=True) == []


def test_with_a_clock_that_is_off_nothing_is_repaired(
    healthy, model, folder, stored_objects, settings
):
    plant_unnamed_folder(model, healthy, folder, stored_objects)
    stored_objects.age()
    settings.ISTORE_CLOCK_SKEW_MAX_SECONDS = -1  # whatever the clock says, it is off

    report = verification.report(verification.Scope(now(), repair=True))
    assert list(report.findings()) == []
    assert "clock-skew" in report.unfinished["clock"]
    assert report.exit_code == 2
    assert blobs.get(f"{folder[:-2]}u2/input") == b"x"


def test_memory_does_not_grow_with_rows(healthy, model, make_inference, settings):
    """Windows and pages are smaller than the store, and still leave no hole."""
    settings.ISTORE_VERIFY_WINDOW = 2
    for number in range(5):
        make_inference(inference_id=f"{number}")
    assert verify() == []

    for name in ("0", "4"):
        InferenceKey.objects.filter(inference_id=name).delete()
    plant_side_rows_alone(model, healthy, None, None)
    found = kinds(verify())
    assert "without-key" in found and "number-alone" in found
    assert len([each for each in verify() if each.kind == "without-key"]) == 2


def test_equal_ids_of_two_models_are_told_apart(healthy, model, project):
    other = RegisteredModel.objects.create(model_id="other", project=project)
    RecentEmbedding.objects.bulk_create(
        [RecentEmbedding(id=healthy.id, registered_model=other, vector=[1])]
    )

    found = verify()

    assert [each.where.split()[0] for each in found] == ["other"]
