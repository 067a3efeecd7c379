"""Large files of actuals: a request takes them, a worker joins them."""

from __future__ import annotations

import gzip
import io
import time
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.db.models.functions import Now

from inferences.ground_truth import file_tasks
from inferences.models import TaskType, UploadGrant
from inferences.models.ground_truth import PendingTruth, TruthFile
from istore import blobs, failpoints
from istore.models import AuditEntry, Role
from istore.tasks.tracking import TaskState

PATH = "/api/v1/models/yolo-harbour/ground-truth"
TASKS = f"{PATH}-files"
CSV, PARQUET, NDJSON = (
    "text/csv",
    "application/vnd.apache.parquet",
    "application/x-ndjson",
)


@pytest.fixture
def model(model):
    model.task_type = TaskType.IMAGE_CLASSIFICATION
    model.save()
    return model


@pytest.fixture(autouse=True)
def few_at_once(settings):
    settings.ISTORE_TRUTHS_AT_ONCE = 100


def post(api, content: bytes, kind: str = CSV):
    return api.generic("POST", PATH, content, content_type=kind)


def csv(rows: int, label: str = "ship") -> bytes:
    lines = "".join(f"i-{number},{label}\n" for number in range(rows))
    return b"inference_id,label\n" + lines.encode()


def parquet(**columns) -> bytes:
    made = io.BytesIO()
    pq.write_table(pa.table(columns), made)
    return made.getvalue()


def carried_out(task_id: str) -> TruthFile:
    file_tasks.carry_out(TruthFile.objects.get(pk=task_id))
    return TruthFile.objects.get(pk=task_id)


def test_a_small_file_is_joined_at_once(api, model):
    assert post(api, csv(90)).status_code == 200
    assert not TruthFile.objects.exists()


def test_a_large_file_becomes_a_task_that_a_worker_carries_out(
    api, model, make_inference
):
    make_inference(inference_id="i-7", detections=[("ship", 0.9)])
    content = csv(150) + b"i-7,tug\nno-columns\n"

    taken = post(api, content)

    assert taken.status_code == 202
    told = taken.json()
    assert (told["state"], told["joined"]) == ("pending", None)
    assert told["expected_count"] >= 151
    assert told["size"] == len(content)
    assert not PendingTruth.objects.exists()
    key = TruthFile.objects.get().storage_key
    assert blobs.size(key) == len(content)
    assert AuditEntry.objects.filter(action="ground_truth.file").count() == 1

    carried_out(told["id"])

    told = api.get(f"{TASKS}/{told['id']}").json()
    assert (told["state"], told["progress_count"]) == ("complete", 152)
    joined = told["joined"]
    assert (joined["actuals"], joined["joined"], joined["waiting"]) == (152, 1, 149)
    assert joined["refused"] == 1
    assert joined["refusals"][0]["place"] == "row 152"
    assert [each["id"] for each in api.get(TASKS).json()["results"]] == [told["id"]]
    truth = api.get("/api/v1/models/yolo-harbour/inferences/i-7/ground-truth").json()
    assert truth["ground_truth"] == {"labels": ["tug"]}
    assert "token" in truth["actor"]
    # The file is gone, and so is the row that named it.
    assert not UploadGrant.objects.exists()
    with pytest.raises(FileNotFoundError):
        blobs.size(key)


def test_a_worker_that_died_is_followed_by_another(api, model, monkeypatch):
    task_id = post(api, csv(150)).json()["id"]
    monkeypatch.setattr(file_tasks, "join", lambda *_: 1 / 0)
    task = carried_out(task_id)
    assert task.state == TaskState.RUNNING  # given back, to be tried again
    assert blobs.size(task.storage_key)
    monkeypatch.undo()

    assert carried_out(task_id).state == TaskState.COMPLETE
    assert PendingTruth.objects.count() == 150


@pytest.fixture
def armed():
    yield failpoints.arm
    failpoints.arm("")


def test_a_crash_before_the_task_is_there_acknowledges_nothing(api, model, armed):
    armed("ground_truth.file_kept=raise")
    api.handler.raise_request_exception = api.raise_request_exception = False
    assert post(api, csv(150)).status_code >= 500
    armed("")

    assert not TruthFile.objects.exists()
    assert UploadGrant.objects.exists()  # by which the collector finds what is left
    assert carried_out(post(api, csv(150)).json()["id"]).state == TaskState.COMPLETE


def test_a_crash_of_the_worker_that_has_the_task_is_made_good(api, model, armed):
    task_id = post(api, csv(150)).json()["id"]
    armed("ground_truth.file_claimed=raise")
    with pytest.raises(failpoints.Failure):
        carried_out(task_id)
    armed("")
    # Another worker takes it when the lease of the dead one has run out.
    TruthFile.objects.update(lease_until=Now() - timedelta(minutes=5))

    assert carried_out(task_id).state == TaskState.COMPLETE
    assert PendingTruth.objects.count() == 150


def test_a_file_that_is_none_fails_as_a_whole_and_says_why(api, model):
    content = csv(150) + b'i-1,"open\n'
    task = carried_out(post(api, content).json()["id"])
    assert task.state == TaskState.FAILED
    assert "Line" in task.reason
    assert not PendingTruth.objects.exists()
    assert not UploadGrant.objects.exists()


def test_a_file_that_waited_too_long_fails(api, model):
    task_id = post(api, csv(150)).json()["id"]
    blobs.delete([TruthFile.objects.get().storage_key])
    task = carried_out(task_id)
    assert (task.state, "gone" in task.reason) == (TaskState.FAILED, True)


def test_a_task_can_be_stopped_by_editors(api, api_as, model):
    task_id = post(api, csv(150)).json()["id"]
    stop = f"{TASKS}/{task_id}/stop"
    assert api_as(Role.VIEWER).post(stop).status_code == 403
    assert api.post(stop).json()["state"] == "stopped"
    assert carried_out(task_id).state == TaskState.STOPPED
    assert api.get(f"{TASKS}/{task_id[:-1]}0").status_code in (200, 404)


def test_a_million_equal_rows_are_told_by_their_number(api, model, settings):
    rows = 1_000_000
    content = parquet(inference_id=equal("a", rows), label=equal("ship", rows))
    assert len(content) < 20_000
    began = time.thread_time()
    assert post(api, content, PARQUET).status_code == 202
    assert time.thread_time() - began < 2
    settings.ISTORE_TRUTH_FILE_ROWS = 999_999
    refused = post(api, content, PARQUET)
    assert (refused.status_code, refused.json()["code"]) == (413, "too-many-rows")
    settings.ISTORE_TRUTH_FILE_ROWS = 10_000
    assert post(api, b"inference_id\n" + b"a\n" * 10_000).status_code == 413
    assert post(api, b"{}\n" * 10_001, NDJSON).status_code == 413
    assert post(api, b"inference_id\r" + b"a\r" * 10_000).status_code == 413


def test_lists_of_many_values_count_as_many_rows(api, model):
    content = parquet(inference_id=["a"], labels=[["ship"] * 20_000])
    assert post(api, content, PARQUET).status_code == 202


def equal(text: str, rows: int) -> pa.Array:
    """A column of one text, which is once in memory and once in the file."""
    places = pa.array(np.zeros(rows, np.int32))
    return pa.DictionaryArray.from_arrays(places, [text])


def test_a_text_that_stands_in_every_row_is_not_read_as_often(api, model, settings):
    settings.ISTORE_TRUTHS_AT_ONCE = 10_000
    long = parquet(inference_id=equal("a", 5000), label=equal("x" * 5 * 2**20, 5000))
    refused = post(api, long, PARQUET)
    assert (refused.status_code, refused.json()["code"]) == (413, "body-too-large")
    # A longer one than a label may have is refused row by row, in little memory.
    content = parquet(inference_id=equal("a", 200), label=equal("x" * 2**19, 200))
    assert post(api, content, PARQUET).json()["refused"] == 200
    whole = parquet(inference_id=["a", "b"], label=["ship", "tug"])
    assert post(api, whole, PARQUET).json()["actuals"] == 2


def test_a_list_on_one_line_has_as_many_rows_as_objects(api, model):
    content = b"[" + b"{}," * 150 + b"{}]"
    assert post(api, content, NDJSON).status_code == 202


def test_what_comes_out_of_a_compressed_file_is_bounded(api, model, settings):
    settings.ISTORE_UPLOAD_MAX_BYTES = 2**20
    refused = post(api, gzip.compress(b"inference_id,label\n" + bytes(2**21)))
    assert (refused.status_code, refused.json()["code"]) == (413, "body-too-large")
