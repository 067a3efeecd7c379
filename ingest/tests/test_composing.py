from __future__ import annotations

import json

import numpy as np
import orjson
import pytest

from inferences.models import (
    Detection,
    InferencePayload,
    RecentEmbedding,
    RegisteredModel,
)
from ingest.models import DeadLetter
from ingest.tests.builders import DETECTED, MOMENT, capture, rewritten
from istore import blobs

pytestmark = pytest.mark.django_db

LONE = "\ud800"


@pytest.fixture
def stored(deliver):
    """Let the listener have an event; the record's payload, and its inference."""

    def stored(event, model):
        deliver(event)
        assert not DeadLetter.objects.exists()
        payload = InferencePayload.objects.beside(model).get()
        return payload, model.inferences.get()

    return stored


@pytest.fixture
def embedding_model(project):
    return RegisteredModel.objects.create(
        model_id="encoder",
        project=project,
        task_type="Image Embedding",
        embedding_size=3,
    )


def warnings(payload) -> list[str]:
    return payload.notes.get("warnings", [])


def item(key="k", type="string", value="v"):
    return {"key": key, "type": type, "value": value}


def output(data, datatype="FP32", name="out"):
    return {
        "outputs": [
            {"name": name, "datatype": datatype, "shape": [len(data)], "data": data}
        ]
    }


def test_the_notes_tell_the_five_moments_and_both_bodies(model, stored):
    payload, _ = stored(capture(model, warnings=["The proxy says"]), model)

    times = payload.notes["times"]
    assert sorted(times) == [
        "forwarded",
        "indexed",
        "published",
        "received",
        "responded",
    ]
    assert times["received"] == "2025-06-01T12:00:00.123456Z"
    assert times["published"] <= times["indexed"]
    assert payload.notes["answer"].keys() == {
        "sha256",
        "size",
        "content_type",
        "header_length",
        "status",
    }
    assert payload.notes["input"] == {
        "name": "image",
        "datatype": "BYTES",
        "shape": [1],
    }
    assert payload.notes["request_part"] == [0, 1]
    assert warnings(payload) == ["The proxy says"]


def test_metadata_and_the_three_columns_are_kept(model, stored):
    event = capture(
        model,
        metadata=[item("n", "int", "3"), item("pose", "json", '{"angle": 1}')],
        latitude=51.95,
        longitude=-4,
        data_source="quay-3",
    )

    payload, row = stored(event, model)

    assert payload.metadata == {
        "n": ["int", "3"],
        "pose": ["json", '{"angle": 1}'],
    }
    assert (row.latitude, row.longitude) == (51.95, -4.0)
    assert row.source.name == "quay-3"
    assert warnings(payload) == []


@pytest.mark.parametrize(
    "bad",
    [
        item("n", "int", "many"),
        item("n", "number", "1"),
        item("", "string", "v"),
        item("k" * 257),
        item("n", "int", 3),
        item("nul", "string", "a\x00"),
        item("lone", "string", LONE),
        item("j", "json", "{"),
        item("f", "float", "NaN"),
        "nonsense",
        None,
    ],
)
def test_metadata_that_cannot_be_read_is_set_aside(model, stored, bad):
    payload, _ = stored(capture(model, metadata=[bad, item()]), model)

    assert payload.metadata == {"k": ["string", "v"]}
    assert len(warnings(payload)) == 1


def test_of_a_key_given_twice_the_first_is_kept(model, stored):
    twice = [item(value="first"), item(value="second")]

    payload, _ = stored(capture(model, metadata=twice), model)

    assert payload.metadata == {"k": ["string", "first"]}
    assert len(warnings(payload)) == 1


def test_too_much_metadata_is_cut(model, stored, settings):
    many = [item(f"k{n}") for n in range(settings.ISTORE_METADATA_MAX_ITEMS + 5)]

    payload, _ = stored(capture(model, metadata=many), model)

    assert len(payload.metadata) == settings.ISTORE_METADATA_MAX_ITEMS
    assert len(warnings(payload)) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("latitude", 91),
        ("longitude", -180.5),
        ("latitude", "51.9"),
        ("latitude", True),
        ("data_source", "a\x00b"),
        ("data_source", LONE),
        ("data_source", 3),
        ("metadata", "nonsense"),
    ],
)
def test_a_column_that_cannot_hold_it_stays_empty(model, stored, name, value):
    payload, row = stored(capture(model, **{name: value}), model)

    assert (row.latitude, row.longitude, row.source) == (None, None, None)
    assert len(warnings(payload)) == 1


def test_what_the_database_cannot_hold_is_replaced_in_notes(model, stored):
    event = capture(
        model, warnings=["a\x00", LONE], request_part=[LONE, {"\x00": 1e999}]
    )

    payload, _ = stored(event, model)

    assert warnings(payload) == ["a\ufffd", "\ufffd"]
    assert payload.notes["request_part"] == ["\ufffd", {"\ufffd": None}]


def test_an_answer_is_kept_as_the_model_wrote_it(model, stored):
    body = json.dumps(DETECTED, indent=3).encode()

    payload, row = stored(capture(model, answer=body), model)

    assert payload.data == body.decode()
    assert len(row.labels) == 1
    assert Detection.objects.beside(model).get().score == pytest.approx(0.9)


def test_an_answer_beside_the_marker_is_read_there(model, stored):
    payload, row = stored(capture(model, inline=False), model)

    assert payload.data == orjson.dumps(DETECTED).decode()
    assert len(row.labels) == 1


def test_a_long_answer_stays_in_its_blob_and_is_taken_apart(model, stored, settings):
    settings.ISTORE_ANSWER_INLINE_BYTES = 20

    payload, row = stored(capture(model), model)

    assert payload.data == ""
    assert len(row.labels) == 1


def test_a_binary_answer_is_kept_as_json(model, stored):
    scores = np.array([0.5, 0.25], "<f4").tobytes()
    header = orjson.dumps(
        {
            "model_name": "m",
            "outputs": [
                {
                    "name": "probabilities",
                    "datatype": "FP32",
                    "shape": [1, 2],
                    "parameters": {"binary_data_size": len(scores)},
                }
            ],
        }
    )
    event = capture(model, answer=header + scores, inline=False)
    stated = json.loads(blobs.get(event.metadata_storage_key))["answer"]
    event = rewritten(event, answer=stated | {"header_length": len(header)})

    payload, _ = stored(event, model)

    kept = json.loads(payload.data)
    assert kept["model_name"] == "m"
    assert kept["outputs"][0]["data"] == [0.5, 0.25]


@pytest.mark.parametrize(
    "body", [b"no json", b"\xff\xfe", b"", b"a\x00b", b'{"a": "\\u0000\\ud800"}', b"{}"]
)
def test_an_answer_nobody_understands_is_stored_all_the_same(model, stored, body):
    payload, row = stored(capture(model, answer=body, inline=False), model)

    assert row.labels is None
    assert "\x00" not in payload.data


def test_finding_nothing_is_known(model, stored):
    found_nothing = output(["[]"], "BYTES", "detections")

    _, row = stored(capture(model, answer=found_nothing), model)

    assert row.labels == []


def test_an_embedding_of_the_model_s_length_is_kept(embedding_model, stored):
    event = capture(embedding_model, answer=output([1.0, 2.0, 3.0], name="embedding"))

    payload, row = stored(event, embedding_model)

    vector = RecentEmbedding.objects.beside(embedding_model).get().vector
    assert list(vector) == [1, 2, 3]
    assert row.labels is None
    assert warnings(payload) == []


def test_an_embedding_of_another_length_is_warned_of(embedding_model, stored):
    event = capture(embedding_model, answer=output([1.0, 2.0], name="embedding"))

    payload, _ = stored(event, embedding_model)

    assert not RecentEmbedding.objects.beside(embedding_model).exists()
    assert len(warnings(payload)) == 1


def test_the_same_content_under_the_same_id_is_a_copy_whenever_it_came(
    model, stored, deliver
):
    later = MOMENT.replace(hour=15)
    stored(capture(model, "a"), model)

    deliver(capture(model, "a", received_at=later))

    assert model.inferences.get().created_at == MOMENT
