"""Until when the bytes of a removed inference are gone, and that they are gone by then."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db.models import F

from inferences import tasks
from istore import blobs
from istore.blobs import packs
from istore.db.clock import now
from istore.models import AuditEntry, ReleasedMember

pytestmark = pytest.mark.django_db
MODEL = "/api/v1/models/yolo-harbour"
HOUR = timedelta(hours=1)
INPUTS = {"a": b"input of a, which is removed", "b": b"input of b, which stays"}


@pytest.fixture
def pack(model, make_inference) -> str:
    prefix = blobs.prefix_for(
        model.project_id, model.pk, datetime(2025, 6, 1, tzinfo=UTC), ""
    )
    key = packs.new_key(prefix.removesuffix("/"), packs.INPUTS)
    made = packs.build_inputs(key, [(n.encode() * 16, c) for n, c in INPUTS.items()])
    blobs.put(key, made.body)
    for name, member in zip(INPUTS, made.members, strict=True):
        make_inference(inference_id=name, data_storage_key=member.content_key(key))
    return key


def stored() -> bytes:
    return b"".join(blobs.get(each.key) for each in blobs.walk())


def pass_by(minutes: int) -> None:
    """Let releases be older by so many minutes, and beat come by."""
    earlier = timedelta(minutes=minutes)
    ReleasedMember.objects.update(released_at=F("released_at") - earlier)
    tasks.rewrite_packs()


def test_on_disk_the_bytes_are_gone_at_once(api, pack, blob_directory):
    assert api.delete(f"{MODEL}/inferences/a").json() == {"inference_id": "a"}
    assert INPUTS["a"] not in stored()
    assert AuditEntry.objects.get(action="inference.delete").details == {}


def test_in_a_bucket_the_record_of_it_tells_until_when(api, s3_prefix, pack):
    before = now()
    answer = api.delete(f"{MODEL}/inferences/a").json()

    assert api.get(f"{MODEL}/inferences/a").status_code == 404
    gone_by = datetime.fromisoformat(answer["bytes_gone_by"])
    assert before + HOUR <= gone_by <= now() + HOUR
    entry = AuditEntry.objects.get(action="inference.delete", subject="a")
    assert datetime.fromisoformat(entry.details["bytes_gone_by"]) == gone_by


def test_it_is_carried_out_before_that_and_not_one_by_one(api, s3_prefix, pack):
    api.delete(f"{MODEL}/inferences/a")
    pass_by(minutes=20)
    assert INPUTS["a"] in stored()
    pass_by(minutes=20)
    assert INPUTS["a"] not in stored()
    assert INPUTS["b"] in stored()


def test_the_minutes_are_a_setting(api, s3_prefix, pack, settings):
    settings.ISTORE_PACK_COMPACT_MINUTES = 0
    api.delete(f"{MODEL}/inferences/a")
    tasks.rewrite_packs()
    assert INPUTS["a"] not in stored()


def test_objects_of_their_own_are_gone_at_once(api, s3_prefix, make_inference, model):
    prefix = blobs.prefix_for(model.project_id, model.pk, now(), "alone")
    key = f"{prefix}/{blobs.INPUT}"
    blobs.put(key, INPUTS["a"])
    make_inference(inference_id="a", data_storage_key=key)
    assert api.delete(f"{MODEL}/inferences/a").json() == {"inference_id": "a"}
    assert INPUTS["a"] not in stored()


def test_a_bulk_deletion_tells_it_as_well(api, s3_prefix, pack):
    everything = {"filters": {}}
    assert api.post(f"{MODEL}/inferences/delete", everything, format="json").json()
    entry = AuditEntry.objects.get(action="inference.bulk_delete")
    assert entry.details["count"] == 2
    assert datetime.fromisoformat(entry.details["bytes_gone_by"]) <= now() + HOUR


def test_the_page_of_the_audit_log_shows_it(api, s3_prefix, pack, admin_client):
    gone_by = api.delete(f"{MODEL}/inferences/a").json()["bytes_gone_by"]
    page = admin_client.get("/admin/istore/auditentry/?q=a").content.decode()
    assert f"bytes_gone_by: {gone_by[:19]}" in page
