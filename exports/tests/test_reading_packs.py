"""Exports of packed inferences: few requests to an object store, and the set in its order."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from exports.tests.conftest import opened
from inferences.models import RegisteredModel, TaskType
from istore import blobs
from istore.blobs import batch_reading, moves, packs
from istore.blobs.batch_reading import BatchReader
from istore.tests.s3_relay import BUCKET, Relay, client, options, start_moto

pytestmark = pytest.mark.django_db(transaction=True)
COUNT = 60
HOUR = "1/1/2025/06/01/00"


@pytest.fixture
def relay(settings):
    """The default storage is a bucket behind this relay."""
    server = start_moto()
    relay = Relay(server.get_host_and_port())
    relay.start()
    client(relay.url).create_bucket(Bucket=BUCKET)
    backend = "istore.blobs.s3_storage.S3Storage"
    storage = {"BACKEND": backend, "OPTIONS": options(relay.url)}
    settings.STORAGES = {**settings.STORAGES, "default": storage}
    yield relay
    relay.stop()
    server.stop()


def put_pack(kind: str, contents: list[bytes]) -> list[str]:
    key = packs.new_key(HOUR, kind)
    if kind == packs.INPUTS:
        made = packs.build_inputs(key, [(uuid4().bytes, each) for each in contents])
    else:
        records = [(uuid4().bytes, b"m" * 900, each) for each in contents]
        made = packs.build_records(key, records)
    blobs.put(key, made.body)
    return [each.content_key(key) for each in made.members]


def packed(make_inference, contents: list[bytes], number: int = 0) -> list[str]:
    """Inferences whose inputs and answers are in two packs, in another order than their own."""
    backwards = contents[::-1]
    inputs = put_pack(packs.INPUTS, backwards)[::-1]
    answers = [b'{"object_detection": []}'] * len(contents)
    records = put_pack(packs.RECORDS, answers)[::-1]
    for place, (key, answer_key) in enumerate(zip(inputs, records, strict=True)):
        make_inference(
            inference_id=f"{number}-{place:03}",
            created_at=datetime(2025, 6, 1, 0, place, number, tzinfo=UTC),
            data='{"object_detection": []}',
            data_hash=hashlib.sha256(contents[place]).digest(),
            data_size=len(contents[place]),
            data_storage_key=key,
            data_content_type="application/octet-stream",
            answer_storage_key=answer_key,
        )
    return inputs


def gets_of_packs(relay) -> Counter[str]:
    return Counter(
        each.path.rpartition(".")[2].partition("?")[0]
        for each in relay.requests
        if each.method == "GET" and packs.is_pack(each.path.partition("?")[0])
    )


def inputs_in(task) -> list[tuple[str, bytes | None]]:
    archive = opened(task)
    lines = map(json.loads, archive.read("inferences.ndjson").splitlines())
    return [
        (each["inference_id"], each["input"] and archive.read(each["input"]["path"]))
        for each in lines
    ]


def test_a_pack_is_one_request_whatever_the_order_of_the_set(
    relay, make_inference, exported
):
    both = [[os.urandom(300) for _ in range(COUNT)] for _ in range(2)]
    for number, contents in enumerate(both):
        packed(make_inference, contents, number)
    relay.requests.clear()

    task = exported("ndjson")

    assert gets_of_packs(relay) == {"inputs": 2, "records": 2}
    assert inputs_in(task) == [
        (f"{number}-{place:03}", both[number][place])
        for place in range(COUNT)
        for number in range(2)
    ]


def test_prompts_and_answers_of_a_table_are_one_request_each(
    relay, make_inference, exported, project
):
    model = RegisteredModel.objects.create(
        model_id="m", project=project, task_type=TaskType.TEXT_GENERATION
    )
    texts = [f"Ships {n}?" for n in range(COUNT)]
    inputs = put_pack(packs.INPUTS, [each.encode() for each in texts])
    said = [b'{"text_generation": {"text": "%d"}}' % n for n in range(COUNT)]
    answers = put_pack(packs.RECORDS, said)
    for number, (key, answer_key) in enumerate(zip(inputs, answers, strict=True)):
        make_inference(
            to=model,
            inference_id=f"{number:03}",
            created_at=datetime(2025, 6, 1, 0, number, tzinfo=UTC),
            data="",
            data_storage_key=key,
            data_content_type="text/plain",
            answer_storage_key=answer_key,
        )
    relay.requests.clear()

    task = exported("open_inference_jsonl", of=model)

    assert gets_of_packs(relay) == {"inputs": 1, "records": 1}
    (name,) = [n for n in opened(task).namelist() if n.endswith("jsonl")]
    rows = list(map(json.loads, opened(task).read(name).splitlines()))
    assert [each[":feature.text:prompt_text"] for each in rows] == texts


def test_an_input_that_was_released_counts_as_one_that_is_missing(
    relay, make_inference, exported
):
    contents = [os.urandom(300) for _ in range(5)]
    keys = packed(make_inference, contents)
    blobs.delete([keys[1]])

    found = [content for _, content in inputs_in(exported("ndjson"))]

    assert found == [contents[0], None, *contents[2:]]


def test_a_pack_that_was_rewritten_is_read_where_it_went(
    relay, make_inference, exported
):
    contents = [os.urandom(300) for _ in range(3)]
    keys = packed(make_inference, contents)
    moves.note(dict(zip(keys, put_pack(packs.INPUTS, contents), strict=True)))
    blobs.delete([packs.pack_of(keys[0])])

    found = [content for _, content in inputs_in(exported("ndjson"))]

    assert found == contents


def test_memory_is_bounded_whatever_waits(relay, monkeypatch):
    monkeypatch.setattr(batch_reading, "GROUP_BYTES", 1000)
    monkeypatch.setattr(batch_reading, "KEPT_BYTES", 2500)
    contents = [os.urandom(500) for _ in range(20)]
    keys = put_pack(packs.INPUTS, contents)
    reader = BatchReader(keys)

    for key in keys[::2]:  # the other of each group waits
        assert reader.take(key) == contents[keys.index(key)]
        assert sum(map(len, reader._contents.values())) == reader._kept <= 2500
    assert reader.take(keys[1]) is None  # read by itself
    assert reader.take(keys[-1]) == contents[-1]


def test_on_disk_each_member_is_read_by_itself(blob_directory):
    keys = put_pack(packs.INPUTS, [b"a", b"b"])
    assert BatchReader(keys).take(keys[0]) is None
