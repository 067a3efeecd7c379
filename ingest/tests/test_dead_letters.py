from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO

import orjson
import pytest
from django.core.management import call_command

from inferences.models import RegisteredModel
from ingest.models import DeadLetter
from ingest.stream import FIELD, STREAM, Lag
from ingest.tests.builders import (
    MOMENT,
    capture,
    make,
    put_packs,
    rewritten,
    with_marker,
)
from istore import blobs

pytestmark = pytest.mark.django_db

UUID = "01999999-0000-7000-8000-000000000000"


@pytest.fixture
def unknown(project):
    """A model that is registered nowhere, with the number it would have."""
    return RegisteredModel(id=99, model_id="nobody", project=project)


@pytest.fixture
def deliver_bytes(server, listener):
    def deliver(payload: bytes) -> None:
        server.xadd(STREAM, {FIELD: payload})
        listener.step(block_ms=1)

    return deliver


@pytest.fixture
def replayed(settings, server):
    """Run the command against the stream of this test; what it printed."""
    settings.ISTORE_REDIS_URL = server.url

    def replay(*arguments: str) -> str:
        out = StringIO()
        call_command("replay_events", *arguments, stdout=out)
        return out.getvalue()

    return replay


def letter() -> DeadLetter:
    return DeadLetter.objects.get()


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff\x00",
        b"[]",
        b'{"model_id": "a"}',
        b"[" * 2000,
        b'{"model_id": "\\ud800"}',
    ],
)
def test_what_is_no_event_is_kept_as_it_came(deliver_bytes, stream, payload):
    deliver_bytes(payload)

    assert letter().reason == "malformed-event"
    assert bytes(letter().payload) == payload
    assert stream.lag() == Lag(0, 0)


@pytest.mark.parametrize("inference_id", ["\u0000", "a\nb", ".", "x" * 256])
def test_an_id_nobody_may_have_is_refused(model, deliver, inference_id):
    deliver(replace(capture(model), inference_id=inference_id))

    assert letter().reason == "malformed-event"


@pytest.mark.parametrize("name", ["request_received_at", "event_published_at"])
def test_a_time_without_a_zone_is_refused(model, deliver_bytes, name):
    value = capture(model).as_dict() | {name: "2025-06-01T12:00:00"}

    deliver_bytes(orjson.dumps(value))

    assert letter().reason == "malformed-event"


@pytest.mark.parametrize(
    "prefix",
    [
        f"9999/1/2025/06/01/12/{UUID}",
        f"1/9999/2025/06/01/12/{UUID}",
        "../../etc",
        f"1/1/2025/06/01/12/../{UUID}",
        "",
    ],
)
def test_keys_of_another_model_are_refused(model, deliver, prefix):
    event = replace(capture(model), metadata_storage_key=f"{prefix}/metadata")

    deliver(event)

    assert letter().reason == "foreign-key"


def test_keys_of_another_inference_are_refused(model, deliver):
    own, other = capture(model, "a"), capture(model, "b")

    deliver(replace(own, inference_storage_key=other.inference_storage_key))

    assert letter().reason == "foreign-key"


@pytest.mark.parametrize("own_inputs", [False, True])
def test_the_input_of_another_inference_of_its_hour_is_refused(
    model, deliver, own_inputs
):
    made = [make(model, name, picture=name.encode()) for name in "ab"]
    event, other = put_packs(made, own_inputs=own_inputs)

    deliver(replace(event, data_storage_key=other.data_storage_key), other)

    assert letter().reason == "foreign-key"
    assert model.inferences.get().inference_id == "b"


def test_an_input_that_the_index_does_not_tell_of_is_refused(model, deliver):
    event = capture(model)
    pack = event.data_storage_key.partition("#")[0]

    deliver(replace(event, data_storage_key=f"{pack}#9-2"))

    assert letter().reason == "foreign-key"


def test_an_unknown_model_may_yet_be_registered(unknown, deliver, listener, stream):
    event = capture(unknown)
    deliver(event)
    assert stream.lag() == Lag(0, 1)

    RegisteredModel.objects.create(
        id=99, model_id="nobody", project=unknown.project, task_type="Object Detection"
    )
    listener._models._read_at = -10  # a second later
    listener.step(block_ms=1)

    assert unknown.inferences.get().inference_id == "a"
    assert stream.lag() == Lag(0, 0)


def test_an_unknown_model_is_given_up_after_some_deliveries(
    unknown, deliver, listener, stream, settings
):
    deliver(capture(unknown))
    for _ in range(settings.ISTORE_EVENT_DELIVERIES - 2):
        listener.step(block_ms=1)
    assert not DeadLetter.objects.exists()

    listener.step(block_ms=1)

    assert letter().reason == "unknown-model"
    assert (letter().model_id, letter().inference_id) == ("nobody", "a")
    assert stream.lag() == Lag(0, 0)


@pytest.mark.parametrize("kind", ["inference", "metadata"])
def test_a_blob_may_yet_come(model, deliver, listener, stream, kind):
    check_may_yet_come(kind, model, deliver, listener, stream)


# An object store accepted the input before the marker, so it is not asked for it there.
@pytest.mark.usefixtures("blob_directory")
def test_an_input_may_yet_come(model, deliver, listener, stream):
    check_may_yet_come("data", model, deliver, listener, stream)


def check_may_yet_come(kind, model, deliver, listener, stream):
    event = capture(model, inline=False, packed=False)
    key = getattr(event, f"{kind}_storage_key")
    content = blobs.get(key)
    blobs.delete([key])
    deliver(event)
    assert stream.lag() == Lag(0, 1)
    assert not model.inferences.exists()

    blobs.put(key, content)
    listener.step(block_ms=1)

    assert model.inferences.exists()
    assert stream.lag() == Lag(0, 0)


def test_a_blob_that_never_comes_is_told(model, deliver, listener, settings):
    event = capture(model)
    blobs.delete([event.inference_storage_key])
    deliver(event)
    for _ in range(settings.ISTORE_EVENT_DELIVERIES):
        listener.step(block_ms=1)

    assert letter().reason == "missing-blob"
    assert letter().metadata_storage_key == event.metadata_storage_key
    assert not model.inferences.exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 3},
        {"event": None},
        {"input": []},
        {"answer": {"sha256": "00", "size": 1}},
        {"input": {"sha256": "0" * 64, "size": -1}},
        {"input": {"sha256": 3, "size": 1}},
        {"inference_action": "dance"},
        {"inference_action": ["detect"]},
    ],
)
def test_a_marker_of_another_form_is_refused(model, deliver, changes):
    deliver(rewritten(capture(model), **changes))

    assert letter().reason == "malformed-metadata"


@pytest.mark.parametrize("content", [b"", b"nonsense", b"[" * 100_000, b"\xff", b"[]"])
def test_a_marker_that_is_not_json_is_refused(model, deliver, content):
    # In a pack an empty marker is no marker.
    deliver(with_marker(capture(model, packed=bool(content)), content))

    assert letter().reason == "malformed-metadata"


def test_a_marker_of_another_inference_is_refused(model, deliver):
    event = capture(model, "a")

    deliver(replace(event, inference_id="b"))

    assert letter().reason == "malformed-metadata"


def test_an_answer_that_is_not_the_one_hashed_is_refused(model, deliver):
    inline = capture(model, "a", packed=False)
    beside = capture(model, "b", inline=False, packed=False)
    packed = capture(model, "c")
    stated = json.loads(blobs.get(inline.metadata_storage_key))["answer"]
    rewritten(inline, answer=stated | {"text": "{}"})
    blobs.put(beside.inference_storage_key, b"{}")
    packed = rewritten(packed, answer=stated | {"sha256": "0" * 64})

    deliver(inline, beside, packed)

    reasons = DeadLetter.objects.values_list("reason", flat=True)
    assert list(reasons) == ["hash-mismatch"] * 3


# An object store is not asked for an input before it is read.
@pytest.mark.usefixtures("blob_directory")
def test_an_input_of_another_length_is_refused(model, deliver):
    event = capture(model, packed=False)
    blobs.put(event.data_storage_key, b"short")

    deliver(event)

    assert letter().reason == "hash-mismatch"


def test_an_event_is_set_aside_once(model, stream, listener, arm):
    stream.publish([replace(capture(model), inference_id=".")])
    arm("listener.set_aside=raise")
    for _ in range(2):
        with pytest.raises(RuntimeError):
            listener.step(block_ms=1)
    arm("")
    listener.step(block_ms=1)

    assert DeadLetter.objects.count() == 1
    assert stream.lag() == Lag(0, 0)


def test_replay_lists_and_publishes_what_was_set_aside(
    model, deliver, listener, replayed
):
    event = capture(model, "a", inline=False, packed=False)
    content = blobs.get(event.inference_storage_key)
    blobs.put(event.inference_storage_key, b"short")
    deliver(event)
    assert "hash-mismatch" in replayed()
    assert "yolo-harbour" in replayed()

    blobs.put(event.inference_storage_key, content)
    assert replayed("--reason", "poison") == "0 events published again.\n"
    assert replayed("--model", "other") == "0 events published again.\n"
    assert replayed("--reason", "hash-mismatch") == "1 events published again.\n"
    listener.step(block_ms=1)

    assert model.inferences.get().created_at == MOMENT
    assert letter().replayed_at is not None
    assert replayed("--all") == "0 events published again.\n"
    assert replayed() == "No event is set aside.\n"


def test_a_replay_that_breaks_off_publishes_a_copy_that_is_dropped(
    model, deliver, listener, replayed, arm
):
    event = capture(model, "a", inline=False, packed=False)
    content = blobs.get(event.inference_storage_key)
    blobs.put(event.inference_storage_key, b"short")
    deliver(event)
    blobs.put(event.inference_storage_key, content)
    arm("replay.published=raise")
    with pytest.raises(RuntimeError):
        replayed("--all")
    arm("")
    assert letter().replayed_at is None

    assert replayed("--all") == "1 events published again.\n"
    while listener.step(block_ms=1):
        pass

    assert model.inferences.get().created_at == MOMENT
    assert DeadLetter.objects.filter(replayed_at=None).count() == 0


def test_replay_leaves_what_is_no_event(deliver_bytes, replayed):
    deliver_bytes(b"nonsense")

    said = replayed("--all")

    assert said == "0 events published again; 1 cannot be read.\n"
    assert letter().replayed_at is None
