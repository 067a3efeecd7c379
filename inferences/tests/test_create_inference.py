from __future__ import annotations

import json
import os
from urllib.parse import urlsplit

import pytest
import requests

from inferences.models import InferenceKey, InferencePayload, UploadGrant
from inferences.tests.builders import PICTURE, body
from istore.models import AuditEntry, Role

INFERENCES = "/api/v1/models/yolo-harbour/inferences"
UPLOADS = "/api/v1/models/yolo-harbour/uploads"


def put(client, url, content):
    if os.environ.get("ISTORE_TEST_S3"):  # the link is one of the object store
        return requests.put(url, data=content)
    parts = urlsplit(url)
    return client.put(f"{parts.path}?{parts.query}", content, content_type="image/png")


def uploaded(api, client, content=PICTURE) -> str:
    grant = api.post(f"{UPLOADS}/data").json()
    assert put(client, grant["data_presigned_url"], content).status_code in (200, 204)
    return grant["data_storage_key"]


def test_an_inference_is_stored_with_its_upload(api, client, model):
    key = uploaded(api, client)

    created = api.post(INFERENCES, body(data_storage_key=key))

    assert created.status_code == 201, created.content
    stored = created.json()
    assert stored["metadata"] == [{"key": "frame", "type": "int", "value": "13"}]
    assert stored["data_coordinates"] == {"latitude": 51.95, "longitude": 4.14}
    assert stored["data_content_type"] == "image/png"
    assert json.loads(stored["data"])["object_detection"][0]["label"] == "ship"
    got = api.get(f"{INFERENCES}/a/input")
    assert b"".join(got.streaming_content) == PICTURE
    found = api.post(
        f"{INFERENCES}/filter",
        {"filters": {"deconstructed_inference_filter": {"labels": ["ship"]}}},
    )
    assert len(found.json()["results"]) == 1
    assert AuditEntry.objects.filter(action="inference.create", subject="a").exists()


def test_a_repeat_finds_the_record_it_made(api, client, model):
    key = uploaded(api, client)
    api.post(INFERENCES, body(data_storage_key=key))

    again = api.post(INFERENCES, body(data_storage_key=key))

    assert again.status_code == 200
    assert model.inferences.count() == 1


def test_other_content_under_a_taken_id_is_a_conflict(api, model):
    api.post(INFERENCES, body())

    other = api.post(INFERENCES, body(is_protected=True))

    assert (other.status_code, other.json()["code"]) == (409, "inference-exists")
    assert not model.inferences.get().is_protected


def test_an_upload_belongs_to_one_inference(api, client, model, blob_directory):
    key = uploaded(api, client)
    api.post(INFERENCES, body(data_storage_key=key))

    taken = api.post(INFERENCES, body("b", data_storage_key=key))

    assert (taken.status_code, taken.json()["code"]) == (409, "upload-already-bound")
    assert model.inferences.count() == 1


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"data_hash": "00" * 32}, 400, "hash-mismatch"),
        ({"data_size": 1}, 400, "size-mismatch"),
    ],
)
def test_what_was_uploaded_is_what_was_said(
    api, client, model, change, status, code, blob_directory
):
    key = uploaded(api, client)
    wrong = body(data_storage_key=key)
    wrong["data"]["metadata"]["standard_metadata"] |= change

    answer = api.post(INFERENCES, wrong)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert not InferenceKey.objects.exists()
    assert len([p for p in blob_directory.rglob("*") if p.is_file()]) == 1


def test_a_grant_that_was_not_used_yet_says_so(api, model):
    key = api.post(f"{UPLOADS}/data").json()["data_storage_key"]

    answer = api.post(INFERENCES, body(data_storage_key=key))

    assert (answer.status_code, answer.json()["code"]) == (409, "upload-incomplete")


def test_a_forged_link_is_refused(client, model, api):
    api.post(f"{UPLOADS}/data")

    assert client.put("/uploads?signature=abc", b"x").status_code == 403


@pytest.mark.usefixtures("blob_directory")
def test_an_upload_has_a_largest_size(api, client, model):
    grant = api.post(f"{UPLOADS}/data").json()
    UploadGrant.objects.update(maximum_size=3)

    assert put(client, grant["data_presigned_url"], b"four").status_code == 413


def test_the_collection_may_be_a_file(api, client, model):
    grant = api.post(f"{UPLOADS}/metadata").json()
    whole = body()
    put(client, grant["metadata_presigned_url"], json.dumps(whole.pop("data")).encode())

    created = api.post(
        INFERENCES, whole | {"metadata_storage_key": grant["metadata_storage_key"]}
    )

    assert created.status_code == 201, created.content


def test_a_backfill_keeps_its_time(api, model):
    created = api.post(INFERENCES, body(created_at="2024-05-06T07:08:09.123456Z"))

    assert created.json()["created_at"] == "2024-05-06T07:08:09.123456Z"


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"model_id": "other"}, "/model_id"),
        ({"inference_id": ".."}, "/inference_id"),
        ({"inference_id": "a\nb"}, "/inference_id"),
        ({"created_at": "2124-01-01"}, "/created_at"),
        ({"created_at": "1948-01-01"}, ""),
        ({"is_protected": "yes"}, "/is_protected"),
        ({"extra": 1}, "/extra"),
        ({"data": None}, "/data"),
    ],
)
def test_bad_creates_name_their_place_and_store_nothing(api, model, change, pointer):
    answer = api.post(INFERENCES, body() | change)

    assert answer.status_code == 400, answer.content
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert not InferencePayload.objects.exists()


def test_a_batch_tells_of_every_line(api, model):
    api.post(INFERENCES, body("there"))
    lines = [body("new"), body("there"), body("there", is_protected=True), {"x": 1}]
    text = "\n".join(json.dumps(line) for line in lines) + "\nnot json\n"

    answer = api.generic("POST", f"{INFERENCES}/batch", text, "application/x-ndjson")

    told = [(each["status"], each.get("code")) for each in answer.json()["results"]]
    assert told == [
        ("created", None),
        ("exists", None),
        ("refused", "inference-exists"),
        ("refused", "unknown-field"),
        ("refused", "malformed-json"),
    ]


def test_a_viewer_stores_nothing(api_as, model):
    assert api_as(Role.VIEWER).post(INFERENCES, body()).status_code == 403


def test_a_line_that_does_not_fit_the_model_leaves_the_others(api, model):
    wrong = body("wrong")
    wrong["data"]["embedding"] = [1.0]
    text = "\n".join(json.dumps(line) for line in (wrong, body("right")))

    answer = api.generic("POST", f"{INFERENCES}/batch", text, "application/x-ndjson")

    assert [each["status"] for each in answer.json()["results"]] == [
        "refused",
        "created",
    ]
