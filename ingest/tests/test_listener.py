from __future__ import annotations

from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from inferences.maintenance import packing_stored
from inferences.models import Detection, InferenceKey, InferencePayload, RegisteredModel
from inferences.store import removal
from ingest import validated_events
from ingest.models import DeadLetter
from ingest.stream import STREAM, Lag
from ingest.tests import builders
from ingest.tests.builders import (
    ALL,
    MOMENT,
    capture,
    capture_all,
    keys_of,
    kinds_left,
    make,
    published_now,
)
from istore import blobs

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("stored_as")]


@pytest.fixture
def other_model(project):
    return RegisteredModel.objects.create(
        model_id="других/ü", project=project, task_type="Object Detection"
    )


def ids(model) -> list[str]:
    return sorted(model.inferences.values_list("inference_id", flat=True))


def test_an_event_becomes_a_record(model, deliver, stream):
    event = capture(model, "a", metadata=[{"key": "n", "type": "int", "value": "3"}])

    deliver(event)

    stored = model.inferences.get()
    payload = InferencePayload.objects.beside(model).get()
    assert stored.created_at == MOMENT
    assert stored.inference_action == 1
    assert stored.data_size == len(b"\x89PNG picture")
    assert stored.integer_1 == 3
    assert payload.data_content_type == "image/png"
    assert payload.data_storage_key == event.data_storage_key
    assert payload.answer_storage_key == event.inference_storage_key
    assert Detection.objects.beside(model).get().label.name == "ship"
    assert stream.lag() == Lag(0, 0)


def test_events_of_several_models_come_together(model, other_model, deliver):
    deliver(capture(model, "a"), capture(other_model, "a"), capture(model, "b"))

    assert ids(model) == ["a", "b"]
    assert ids(other_model) == ["a"]


@pytest.mark.parametrize("inference_id", ["a/ü b", "日本語", "🚢", "'; --", "x" * 255])
def test_an_id_is_any_text(model, deliver, inference_id):
    deliver(capture(model, inference_id))

    assert ids(model) == [inference_id]


def test_thousands_at_once_and_late_ones_lie_in_order_of_time(
    model, stream, listener, settings
):
    count = 2000 if builders.PACKED else 200  # three puts each
    settings.ISTORE_LISTENER_BATCH = count * 3 // 4
    events = [
        capture(model, f"n{n}", received_at=MOMENT - timedelta(days=40 * (n % 9)))
        for n in range(30)
    ]
    many = capture_all(
        [
            make(model, f"m{n}", received_at=MOMENT + timedelta(microseconds=-n % 50))
            for n in range(count)
        ]
    )
    stream.publish([*reversed(events), *many])
    while listener.step(block_ms=1):
        pass

    assert model.inferences.count() == count + 30
    oldest = model.inferences.oldest_first().first()
    assert oldest.created_at == MOMENT - timedelta(days=320)
    assert stream.lag() == Lag(0, 0)


def test_the_same_event_again_changes_nothing(model, deliver):
    event = capture(model, "a")

    deliver(event, event)
    deliver(event)
    deliver(published_now(event))

    assert ids(model) == ["a"]
    assert kinds_left(event) == ALL


def test_a_copy_leaves_no_blobs_behind(model, deliver):
    first, copy = capture(model, "a"), capture(model, "a")

    deliver(first)
    deliver(copy)

    assert ids(model) == ["a"]
    assert kinds_left(first) == ALL
    assert kinds_left(copy) == []


def test_a_copy_in_one_batch_leaves_no_blobs_behind(model, deliver):
    first, copy = capture(model, "a"), capture(model, "a")

    deliver(first, copy, first, copy)

    assert ids(model) == ["a"]
    assert (kinds_left(first), kinds_left(copy)) == (ALL, [])


@pytest.mark.parametrize("left", [[], ["metadata"]])
def test_a_copy_that_was_dropped_and_not_acknowledged_is_over_when_it_comes_again(
    model, deliver, stream, left
):
    deliver(capture(model, "a"))
    copy = capture(model, "a")
    blobs.delete(key for kind, key in keys_of(copy).items() if kind not in left)

    deliver(copy)

    assert stream.lag() == Lag(0, 0)
    assert not DeadLetter.objects.exists()
    assert kinds_left(copy) == []
    assert ids(model) == ["a"]


# An object store accepted the input before the marker, so it is not asked for it there.
@pytest.mark.usefixtures("blob_directory")
def test_a_capture_that_lost_its_input_alone_waits_though_its_id_is_stored(
    model, deliver, stream
):
    deliver(capture(model, "a"))
    damaged = capture(model, "a", picture=b"another")
    blobs.delete([damaged.data_storage_key])

    deliver(damaged)

    assert stream.lag() == Lag(waiting=0, pending=1)
    assert kinds_left(damaged) == ["answer", "metadata"]


@pytest.mark.usefixtures("blob_directory")
def test_a_marker_of_another_content_is_kept_though_its_blobs_are_gone(
    model, deliver, stream
):
    deliver(capture(model, "a"))
    damaged = capture(model, "a", picture=b"another", packed=False)
    blobs.delete([damaged.data_storage_key, damaged.inference_storage_key])

    deliver(damaged)

    assert stream.lag() == Lag(waiting=0, pending=1)
    assert kinds_left(damaged) == ["metadata"]


def test_an_event_without_blobs_whose_id_is_only_reserved_waits(model, deliver, stream):
    lost = capture(model, "a")
    blobs.delete(keys_of(lost).values())
    InferenceKey.objects.create(
        registered_model=model,
        inference_id="a",
        reservation=b"1" * 32,
        reserved_at=MOMENT,
    )

    deliver(lost)

    assert stream.lag() == Lag(waiting=0, pending=1)


def test_a_redelivery_keeps_the_blobs_of_a_record_whose_input_went(model, deliver):
    event = capture(model, "a")
    deliver(event)
    blobs.delete([event.data_storage_key])
    InferencePayload.objects.beside(model).update(data_storage_key="")

    deliver(event)

    assert kinds_left(event) == ["answer", "metadata"]
    assert not DeadLetter.objects.exists()


def test_a_redelivery_of_a_record_that_was_packed_meanwhile_is_over(
    model, stream, listener, arm
):
    stream.publish([capture(model, "a", packed=False)])
    arm("listener.recorded=raise")
    with pytest.raises(RuntimeError):
        listener.step(block_ms=1)
    arm("")
    assert [each.packed for each in packing_stored.pack_model(model)] == [1]

    listener.step(block_ms=1)

    assert stream.lag() == Lag(0, 0)
    assert not DeadLetter.objects.exists()
    assert ids(model) == ["a"]


def test_other_content_under_a_taken_id_gets_an_id_of_its_own(model, deliver):
    long = "ü" * 255
    first = capture(model, long)
    second = capture(model, long, answer={"outputs": []})

    deliver(first)
    deliver(second)
    deliver(second, first)

    taken, other = sorted(ids(model), reverse=True)
    stored = model.inferences.get(inference_id=other)
    payload = InferencePayload.objects.beside(model).get(id=stored.id)
    assert taken == long
    assert other == f"{long[:246]}~{bytes(payload.content_hash).hex()[:8]}"
    assert "was taken by other content" in payload.notes["warnings"][-1]
    assert model.inferences.count() == 2
    assert kinds_left(first) == kinds_left(second) == ALL


def test_a_late_copy_of_what_was_removed_goes_with_its_blobs(model, deliver):
    event = capture(model, "a")
    InferenceKey.objects.create(
        registered_model=model, inference_id="a", row_id=1, removed_at=MOMENT
    )

    deliver(event)

    assert ids(model) == []
    assert kinds_left(event) == []


def test_an_event_without_blobs_whose_record_was_removed_is_over(
    model, deliver, stream
):
    event = capture(model, "a")
    blobs.delete([event.metadata_storage_key])
    InferenceKey.objects.create(
        registered_model=model, inference_id="a", row_id=1, removed_at=MOMENT
    )

    deliver(event)

    assert stream.lag() == Lag(0, 0)
    assert not DeadLetter.objects.exists()


def test_a_bad_event_does_not_stop_its_batch(model, deliver, monkeypatch):
    def without_bad(of, batch):
        if any(new.inference_id == "bad" for new in batch):
            raise ValueError("bad")
        return recorded(of, batch)

    from ingest import batch_writer

    recorded = batch_writer.record
    monkeypatch.setattr(batch_writer, "record", without_bad)

    deliver(*[capture(model, name) for name in ("a", "b", "bad", "c", "d")])

    assert ids(model) == ["a", "b", "c", "d"]
    letter = DeadLetter.objects.get()
    assert (letter.reason, letter.inference_id) == ("refused", "bad")
    assert "ValueError: bad" in letter.detail


def test_what_a_failed_step_left_is_done_by_the_next(model, stream, listener, arm):
    stream.publish([capture(model, "a")])
    arm("listener.recorded=raise")
    with pytest.raises(RuntimeError):
        listener.step(block_ms=1)
    arm("")

    listener.step(block_ms=1)

    assert ids(model) == ["a"]
    assert stream.lag() == Lag(0, 0)


def test_a_poisonous_event_is_met_alone_and_its_neighbours_are_kept(
    model, stream, listener, monkeypatch
):
    from ingest import listener as module

    def composing(each, *rest):
        if each.event.inference_id == "5":
            raise KeyboardInterrupt  # stands for the end of the process
        return compose(each, *rest)

    compose = module.compose
    monkeypatch.setattr(module, "compose", composing)
    stream.publish([capture(model, str(n)) for n in range(10)])
    for _ in range(5):
        with pytest.raises(KeyboardInterrupt):
            listener.step(block_ms=1)
    listener.step(block_ms=1)

    assert ids(model) == sorted(set("0123456789") - {"5"})
    assert DeadLetter.objects.get().reason == "poison"
    assert stream.lag() == Lag(0, 0)


def test_large_answers_are_written_in_portions(model, deliver, settings):
    settings.ISTORE_LISTENER_PORTION_BYTES = 100

    deliver(*[capture(model, name) for name in "abc"])

    assert ids(model) == ["a", "b", "c"]


def test_a_batch_costs_the_same_queries_whatever_its_size(model, deliver, monkeypatch):
    monkeypatch.setattr(validated_events, "MODELS_REMEMBERED_SECONDS", 3600.0)
    deliver(capture(model, "first"))

    def queries(count: int) -> int:
        events = [capture(model, str(uuid4())) for _ in range(count)]
        with CaptureQueriesContext(
            connection,
        ) as asked:
            deliver(*events)
        return len(asked)

    assert queries(1) == queries(50) <= 8


def test_the_stream_is_trimmed_of_what_is_done(model, deliver, stream, server):
    deliver(*[capture(model, name) for name in "abc"])
    stream.trim()

    assert server.xlen(STREAM) <= 1


def test_counts_are_told(model, deliver, listener):
    event = capture(model, "a")
    deliver(event)
    deliver(event, capture(model, "b"))

    assert listener.counts.events["recorded"] == 2
    assert listener.counts.events["copies"] == 1


def test_the_clock_of_a_publisher_is_corrected_when_it_is_far_off(model, deliver):
    now = datetime.now(MOMENT.tzinfo)
    ahead = timedelta(days=2)
    wrong = capture(model, "a", received_at=now + ahead, published_at=now + ahead)
    right = capture(model, "b", received_at=now, published_at=now)

    deliver(wrong, right)

    a, b = (model.inferences.get(inference_id=name) for name in "ab")
    assert abs(a.created_at - now) < timedelta(seconds=10)
    assert b.created_at == now
    noted = InferencePayload.objects.beside(model).get(id=a.id).notes
    assert noted["clock_anomaly"] is True
    assert noted["times"]["received"] > f"{now + ahead - timedelta(minutes=1):%Y-%m-%d}"
    assert "clock_anomaly" not in (
        InferencePayload.objects.beside(model).get(id=b.id).notes
    )


def test_a_delay_is_no_anomaly(model, deliver):
    deliver(published_now(capture(model, "a", published_at=MOMENT)))

    assert model.inferences.get().created_at == MOMENT


@pytest.mark.parametrize("year", [1000, 1900, 2500, 9999])
def test_a_time_nothing_can_be_stored_at_becomes_that_of_the_stream(
    model, deliver, year
):
    event = capture(model, "a", received_at=MOMENT.replace(year=year))

    deliver(event)

    stored = model.inferences.get()
    assert abs(stored.created_at - datetime.now(MOMENT.tzinfo)) < timedelta(minutes=1)
    assert InferencePayload.objects.beside(model).get().notes["clock_anomaly"] is True


@pytest.mark.django_db(transaction=True)
def test_an_event_of_a_model_removed_meanwhile_waits(model, deliver, stream):
    event = capture(model, "a", answer={"outputs": []})
    deliver(event)
    RegisteredModel.objects.all().delete()

    deliver(capture(model, "b"))

    assert stream.lag().pending == 1
    assert not DeadLetter.objects.exists()


def test_a_redelivery_keeps_the_blobs_of_a_record_beside_a_removed_one(model, deliver):
    first = capture(model, "a", picture=b"one")
    other = capture(model, "a", picture=b"two")
    deliver(first)
    deliver(other)
    removal.remove_one("test", model, "a")

    deliver(other)  # its id is a tombstone now, and its content has a row of another id

    (row,) = model.inferences.live()
    assert row.inference_id.startswith("a~")
    assert blobs.get(other.data_storage_key) == b"two"
    assert blobs.get(other.metadata_storage_key)
