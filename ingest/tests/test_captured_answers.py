"""What the spool holds of a call becomes a record: streams, broken answers, odd numbers."""

from __future__ import annotations

import gzip
import json
from uuid import uuid4

import pytest

from inferences.models import InferencePayload, RegisteredModel, TaskType
from inferences.search.filters import HasWarnings, matching
from ingest.models import DeadLetter
from istore import blobs
from proxy.capture.artifacts import prepare
from proxy.capture.packing import pack
from proxy.spool.entries import Facts, SpoolEntry

pytestmark = pytest.mark.django_db

AT = "2025-06-01T12:00:00.000000Z"
EVENTS = "text/event-stream"


@pytest.fixture
def model(project) -> RegisteredModel:
    return RegisteredModel.objects.create(
        model_id="told",
        project=project,
        task_type=TaskType.TEXT_GENERATION,
        embedding_size=2,
        enable_inference_storage=True,
    )


@pytest.fixture
def recorded(deliver, model):
    """``recorded(answer, …)``: the payload of a call that was spooled with this answer."""

    def record(answer: bytes, content_type: str, request: object = None, **facts):
        prefix = f"{model.project_id}/{model.pk}/2025/06/01/12/{uuid4()}"
        given = Facts(
            model_id=model.model_id,
            task_type=model.task_type,
            inference_ids=["a"],
            prefixes=[prefix],
            request_received_at=AT,
            request_forwarded_at=AT,
            request_responded_at=AT,
            status=200,
            request_header_length=None,
            answer_header_length=None,
            answer_content_type=content_type,
            **facts,
        )
        text = {"name": "t", "datatype": "BYTES", "shape": [1], "data": ["?"]}
        body = (
            request
            if isinstance(request, bytes)
            else json.dumps({"inputs": [text]}).encode()
        )
        entry = SpoolEntry.read(b"".join(SpoolEntry(given, body, answer).pieces()))
        (packed,) = pack(prepare(entry))
        packed.put()
        deliver(*packed.events)
        assert not DeadLetter.objects.exists(), DeadLetter.objects.first().detail
        return InferencePayload.objects.beside(model).get()

    return record


def event(value) -> bytes:
    return b"data: %b\n\n" % json.dumps(value).encode()


def chunk(text: str) -> bytes:
    return event({"choices": [{"index": 0, "delta": {"content": text}}]})


def found(model) -> list[str]:
    return [each.inference_id for each in matching(model, HasWarnings())]


def test_a_stream_that_was_understood_is_an_answer_like_any_other(recorded, model):
    stream = {"end": "", "marks": [[10, 1_000], [500, 250_000]]}
    answer = chunk("A ") + chunk("ship") + b"data: [DONE]\n\n"
    payload = recorded(answer, EVENTS, stream=stream)
    kept = json.loads(payload.data)["choices"][0]["message"]["content"]
    assert kept == "A ship"
    assert payload.metadata["stream"] == ["string", "complete"]
    assert payload.metadata["prediction"] == ["string", "A ship"]
    assert payload.metadata["time_to_first_token"] == ["float", "0.25"]
    assert found(model) == []


def test_what_was_read_out_of_a_stream_lies_beside_it(recorded, model, settings):
    settings.ISTORE_ANSWER_INLINE_BYTES = 100
    long = "x" * 1_000
    stream = chunk(long) + b"data: nonsense\n\n" + b"data: [DONE]\n\n"
    payload = recorded(stream, EVENTS, stream={"end": "", "marks": []})
    assert json.loads(payload.data)["choices"][0]["message"]["content"] == long
    assert blobs.get(payload.answer_storage_key) == stream
    assert payload.notes["answer"]["content_type"] == EVENTS
    assert payload.notes["warnings"] == [
        "1 events were not understood; the stream is kept as it came."
    ]
    assert found(model) == ["a"]


def test_a_stream_with_an_error_is_found_by_two_filters(recorded, model):
    bad = event({"error": {"message": "Overloaded", "code": 503}})
    payload = recorded(chunk("A") + bad, EVENTS, stream={"end": "", "marks": []})
    assert payload.metadata["stream"] == ["string", "error"]
    assert found(model) == ["a"]


def test_a_stream_that_nobody_understands_is_kept_and_found(recorded, model):
    stream = event({"a": 1}) + event({"a": 2})
    payload = recorded(stream, EVENTS, stream={"end": "", "marks": []})
    assert blobs.get(payload.answer_storage_key) == stream
    assert found(model) == ["a"]


@pytest.mark.parametrize(
    "answer",
    [
        gzip.compress(b'{"outputs": []}', mtime=0)[:-9],
        gzip.compress(b'{"outputs": []}', mtime=0)[:-1] + b"\x00\x00",
        b"not gzip at all",
        gzip.compress(b'{"outputs": []}', mtime=0) + b"rest",
    ],
    ids=["cut", "wrong-length", "none", "more"],
)
def test_a_cut_or_broken_gzip_answer_is_found_by_its_warning(recorded, model, answer):
    payload = recorded(answer, "application/json", answer_encoding="gzip")
    assert payload.notes["warnings"][0].startswith("The answer is kept as it came")
    assert blobs.get(payload.answer_storage_key) == answer
    assert found(model) == ["a"]


@pytest.mark.parametrize(
    "vector", ["[1e39, 0]", "[NaN, 0.5]", "[Infinity, 1]", "[1e-40, 0]", "[3e38, 3e38]"]
)
def test_a_vector_beyond_four_bytes_is_set_aside_with_a_warning(
    recorded, model, vector
):
    answer = f'{{"embedding": {vector}}}'.encode()
    payload = recorded(answer, "application/json")
    assert any("embedding" in each for each in payload.notes["warnings"])
    assert found(model) == ["a"]
    assert payload.data == answer.decode()


def test_metadata_is_kept_as_written_and_places_are_columns(recorded, model):
    metadata = (
        '{"pose": {"angle": 10.50}, "twice": {"a":1,"a":2}, "latitude": 51.95,'
        ' "longitude": 4.10, "data_source": "quay-3"}'
    )
    request = json.dumps(
        {
            "parameters": {"metadata": metadata},
            "inputs": [{"name": "t", "datatype": "BYTES", "shape": [1], "data": ["?"]}],
        }
    )
    payload = recorded(b'"A ship"', "application/json", request.encode())
    assert payload.metadata["pose"] == ["json", '{"angle": 10.50}']
    assert not payload.metadata.keys() & {
        "twice",
        "latitude",
        "longitude",
        "data_source",
    }
    row = model.inferences.select_related("source").get()
    assert (row.latitude, row.longitude, row.source.name) == (51.95, 4.1, "quay-3")
    assert (
        len(payload.notes["warnings"]) == 1 and "twice" in payload.notes["warnings"][0]
    )
