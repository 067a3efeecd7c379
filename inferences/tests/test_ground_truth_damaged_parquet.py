"""Parquet files that end their reader, or that are small and unpack to very much."""

from __future__ import annotations

import base64
import io
import random
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from inferences.columnar import parquet_files
from inferences.ground_truth import file_tasks
from inferences.ground_truth.files import LONGEST
from inferences.models import TaskType
from inferences.models.ground_truth import TruthFile
from istore.errors import StoreError
from istore.tasks.tracking import TaskState

PATH = "/api/v1/models/yolo-harbour/ground-truth"
PARQUET = "application/vnd.apache.parquet"
# One byte of its footer says another length of a histogram: reading the metadata of the
# column throws through a call that cannot raise, which ends the process.
DEADLY = base64.b64decode(
    "UEFSMRUEFQoVDkwVAhUAEgAABRABAAAAYRUAFRYVGiwV0A8VEBUGFQYcNgAoAWEYAWEREQAAAAso"
    "AwAAANAPAQHQDwAVBBUKFQ5MFQIVABIAAAUQAQAAAHgVABUWFRosFdCIFRAVBhUGHDYAKAF4GAF4"
    "EREAAAALKAMAAADQDwEB0A8AFQQZPDUAGAZzY2hlbWEVBAAVDCUCGAxpbmZlcmVuY2VfaWQlAEwc"
    "AAAAFQwlAhgFbGFiZWwlAEwcAAAAFtAPGRwZLCYAHBUMGTUABhAZGAxpbmZlcmXbY2VfaWQVAhbQ"
    "DxZ4FoABJjImCBw2ACgBYRgBYRERABksFQQVABUCABUAFRAVAgA8FtAPGQYZJgDQDwAAACYAHBUM"
    "GTUABhAZGAVsYWJlbBUCFtAPFngWgAEmsgEmiAEcNgAoAXgYAXgREQAZLBUEFQAVAgAVABUQFQIA"
    "PBbQDxlFGSYA0A8AAAAW8AEW0A8mCBaAAgAZHBgMQVJST1c6c2NoZW1hGOwBLy8vLy82Z0FBQUFR"
    "QUFBQUFBQUtBQXdBQmdBRkFBZ0FDZ0FBQUFBQkJBQU1BQUFBQ0FBSUFBQUFCQUFJQUFBQUJBQUFB"
    "QUlBQUFCQUFBQUFCQUFBQU5qLy8vOEFBQUVGRUFBQUFCZ0FBQUFFQUFBQUFBQUFBQVVBQUFCc1lX"
    "SmxiQUFBQU1ELy8vOFFBQlFBQ0FBR0FBY0FEQUFBQUJBQUVBQUFBQUFBQVFVUUFBQUFKQUFBQUFR"
    "QUFBQUFBQUFBREFBQUFHbHVabVZ5Wlc1alpWOXBaQUFBQUFBRUFBUUFCQUFBQUFBQUFBQT0AGCBw"
    "YXJxdWV0LWNwcC1hcnJvdyB2ZXJzaW9uIDI2LjAuMRksHAAAHAAAABcCAABQQVIx"
)


@pytest.fixture(autouse=True)
def model(model):
    model.task_type = TaskType.IMAGE_CLASSIFICATION
    model.save()
    return model


def post(api, content: bytes):
    return api.generic("POST", PATH, content, content_type=PARQUET)


def equal(text: str, rows: int) -> pa.Array:
    """A column of one text, which is once in memory and once in the file."""
    return pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), [text])


def parquet(columns: dict[str, object], **options: object) -> bytes:
    made = io.BytesIO()
    pq.write_table(pa.table(columns), made, **options)
    return made.getvalue()


def test_a_file_that_ends_its_reader_is_refused(api):
    refused = post(api, DEADLY)
    assert (refused.status_code, refused.json()["code"]) == (400, "malformed-file")


def test_a_worker_refuses_a_file_that_ends_its_reader(admin_user, model):
    file = io.BytesIO(DEADLY)
    task = file_tasks.keep_file("a", model, file, "parquet", 1, file_tasks.Options())
    file_tasks.carry_out(task)
    task = TruthFile.objects.get(pk=task.pk)
    assert task.state == TaskState.FAILED
    assert "cannot be read as Parquet" in task.reason


def test_no_damage_to_a_file_ends_who_asks_for_its_size():
    whole = [
        parquet({"inference_id": ["a", "b"] * 9, "label": ["ship"] * 18}),
        parquet({"inference_id": ["a"], "labels": [["x"]], "boxes": [[{"a": 1.5}]]}),
    ]
    chance = random.Random(20)
    statuses = []
    for number in range(24):
        content = bytearray(whole[number % 2])
        footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
        for _ in range(3):
            at = chance.randrange(footer, len(content) - 8)
            content[at] = chance.choice([0, 127, 255, chance.randrange(32)])
        try:
            parquet_files.measure(io.BytesIO(content), LONGEST)
        except StoreError as error:
            statuses.append(error.status)
    assert statuses and set(statuses) <= {400, 413}


def test_texts_that_are_too_long_are_refused_without_being_made(api):
    count = 9000
    content = parquet(
        {"inference_id": equal("a" * 200_000, count), "label": equal("b", count)}
    )
    assert len(content) < 20_000
    began = time.thread_time()
    told = post(api, content).json()
    assert time.thread_time() - began < 3
    assert told["refused"] == told["actuals"] == count
    assert "255 characters" in told["refusals"][0]["why"]


@pytest.mark.parametrize("name", ["inference_id", "data_hash", "metadata.frame"])
@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.binary()]
)
def test_only_the_rows_with_a_text_that_is_too_long_are_refused(api, name, kind):
    right = "ab" * 32
    keys = pa.array([right, "x" * 5000, None, right], kind)
    told = post(api, parquet({name: keys, "label": ["ship"] * 4})).json()
    assert "actuals" in told, told
    assert (told["actuals"], told["refused"]) == (4, 2), told
    assert [each["place"] for each in told["refusals"]] == ["row 2", "row 3"]


def test_a_label_that_is_too_long_is_refused_in_its_row(api):
    content = parquet({"inference_id": ["a", "b"], "label": ["ship", "x" * 50_000]})
    told = post(api, content).json()
    assert (told["actuals"], told["refused"]) == (2, 1)
    assert [each["place"] for each in told["refusals"]] == ["row 2"]


@pytest.mark.parametrize("use_dictionary", [True, False])
def test_a_small_file_that_unpacks_to_much_is_left_to_a_worker(api, use_dictionary):
    content = parquet(
        {"inference_id": [f"i-{n}" for n in range(300)], "text": ["x" * 100_000] * 300},
        use_dictionary=use_dictionary,
        compression="zstd",
    )
    assert len(content) < 200_000
    assert post(api, content).status_code == 202


def test_a_file_that_unpacks_to_too_much_fails_before_it_is_read(api):
    content = parquet(
        {
            "inference_id": [f"i-{n}" for n in range(5000)],
            "text": equal("x" * 10**6, 5000),
        },
    )
    answer = post(api, content)
    assert answer.status_code == 202
    task = TruthFile.objects.get(pk=answer.json()["id"])
    file_tasks.carry_out(task)
    task = TruthFile.objects.get(pk=task.pk)
    assert task.state == TaskState.FAILED
    assert "Unpacked" in task.reason


def test_columns_that_are_not_read_do_not_count(api):
    columns = {"inference_id": ["a"] * 300, "label": ["ship"] * 300}
    content = parquet({**columns, "prompt": ["x" * 100_000] * 300})
    answer = api.generic(
        "POST", f"{PATH}?ignore_unknown=true", content, content_type=PARQUET
    )
    assert answer.status_code == 200
