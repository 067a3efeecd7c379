from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.core.cache import cache
from django.db.models.functions import Now

from inferences.maintenance import packing_stored
from inferences.models import InferenceKey, RegisteredModel
from ingest import reconciling
from ingest.models import DeadLetter
from ingest.reconciling import reconcile
from ingest.stream import Lag
from ingest.tests.builders import capture, kinds_left, published_now, with_marker
from istore import blobs

pytestmark = pytest.mark.django_db

AGO = timedelta(minutes=5)


@pytest.fixture(autouse=True)
def cache_of_this_test(settings):
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    }
    cache.clear()


def captured(model, inference_id="a", *, hours=3.0, **fields):
    """A capture of some hours ago, as its marker tells it."""
    at = datetime.now(UTC) - timedelta(hours=hours)
    return capture(model, inference_id, received_at=at, published_at=at, **fields)


def ids(model) -> list[str]:
    return sorted(model.inferences.values_list("inference_id", flat=True))


@pytest.fixture
def listen(listener):
    def listen() -> None:
        while listener.step(block_ms=1):
            pass

    return listen


def test_what_the_stream_forgot_is_published_again(model, stream, server, listen):
    events = [captured(model, str(n), hours=n) for n in range(1, 6)]
    stream.publish(map(published_now, events[:2]))
    listen()
    stream.publish(events[2:])
    server.flushdb()

    assert reconcile(stream) == 3
    listen()

    assert ids(model) == ["1", "2", "3", "4", "5"]
    times = [row.created_at for row in model.inferences.oldest_first()]
    assert times == [each.request_received_at for each in reversed(events)]
    assert reconcile(stream) == 0


def test_a_round_that_breaks_off_is_made_again_and_stores_each_once(
    model, stream, listen, arm
):
    for number in range(1, 4):
        captured(model, str(number), hours=number)
    arm("reconcile.published:2=raise")
    with pytest.raises(RuntimeError):
        reconcile(stream)
    arm("")
    listen()

    assert reconcile(stream) > 0
    listen()
    assert ids(model) == ["1", "2", "3"]
    assert stream.lag() == Lag(0, 0)
    assert reconcile(stream) == 0


def test_what_is_still_on_its_way_is_left_alone(model, stream):
    captured(model, hours=0.01)

    assert reconcile(stream) == 0


def test_what_is_older_than_the_window_is_left_alone(model, stream, settings):
    captured(model, hours=settings.ISTORE_RECONCILE_HOURS + 3)

    assert reconcile(stream) == 0


def test_a_capture_without_its_marker_was_never_committed(model, stream):
    blobs.delete([captured(model).metadata_storage_key])

    assert reconcile(stream) == 0


def test_what_was_removed_or_set_aside_is_not_brought_back(model, stream):
    captured(model, "removed")
    InferenceKey.objects.create(
        registered_model=model, inference_id="removed", row_id=1, removed_at=Now()
    )
    letter = DeadLetter.objects.create(
        stream_id="1-0",
        reason="refused",
        payload=b"",
        metadata_storage_key=captured(model, "aside").metadata_storage_key,
    )

    assert reconcile(stream) == 0

    letter.replayed_at = datetime.now(UTC)
    letter.save()
    assert reconcile(stream) == 1


def test_other_content_is_found_under_the_id_it_was_given(model, stream, listen):
    stream.publish([captured(model, "a"), captured(model, "a", answer={"n": 1})])
    listen()

    assert len(ids(model)) == 2
    assert reconcile(stream) == 0


def test_a_record_whose_time_was_corrected_is_found(model, stream, listen):
    at = datetime.now(UTC)
    wrong = at - timedelta(hours=5)
    stream.publish([capture(model, received_at=wrong, published_at=wrong)])
    listen()
    assert at - model.inferences.get().created_at < timedelta(seconds=10)

    assert reconcile(stream) == 0


def test_a_copy_that_was_lost_is_dropped_with_its_blobs(model, stream, listen):
    stream.publish([captured(model, "a")])
    listen()
    copy = captured(model, "a", hours=2)

    assert reconcile(stream) == 1
    listen()

    assert kinds_left(copy) == []
    assert reconcile(stream) == 0


def test_a_closed_hour_in_order_is_not_listed_again(model, stream, listen, monkeypatch):
    stream.publish([captured(model, "a", hours=5)])
    listen()
    assert reconcile(stream) == 0

    prefixes = []
    listed = blobs.listed
    monkeypatch.setattr(
        blobs, "listed", lambda prefix: prefixes.append(prefix) or listed(prefix)
    )
    reconcile(stream)
    assert {prefix.count("/") for prefix in prefixes} == {4}  # days, and no hour

    cache.clear()
    reconcile(stream)
    assert any(prefix.count("/") == 6 for prefix in prefixes)


def test_nothing_is_published_while_the_listener_is_behind(model, stream, settings):
    settings.ISTORE_LISTENER_BATCH = 3
    stream.ensure_group()
    stream.publish([captured(model, str(n)) for n in range(5)])

    assert reconcile(stream) == 0
    assert stream.lag() == Lag(5, 0)


def test_a_marker_that_cannot_be_read_stops_nobody(model, stream):
    with_marker(captured(model, "bad"), b"nonsense")
    captured(model, "good")

    assert reconcile(stream) == 1


def test_models_are_reconciled_one_by_one(project, model, stream, listen):
    other = RegisteredModel.objects.create(
        model_id="other", project=project, task_type="Object Detection"
    )
    captured(model, "a")
    captured(other, "a")

    assert reconcile(stream) == 2
    listen()

    assert ids(model) == ids(other) == ["a"]


def test_packs_in_the_making_hold_nothing_that_was_lost(
    model, stream, listen, monkeypatch
):
    stream.publish(
        [published_now(captured(model, str(n), packed=False)) for n in range(3)]
    )
    listen()
    met = []

    def look(name):
        met.append((name, reconcile(stream)))
        cache.clear()

    monkeypatch.setattr(packing_stored, "failpoint", look)
    assert [each.packed for each in packing_stored.pack_model(model)] == [3]
    places = ["packing.read", "packing.put", "packing.repointed"]
    assert met == [(place, 0) for place in places]
    assert reconcile(stream) == 0


def test_what_moves_while_rows_are_looked_for_was_not_lost(
    model, stream, listen, monkeypatch
):
    stream.publish(
        [published_now(captured(model, str(n), packed=False)) for n in range(3)]
    )
    listen()
    keys = reconciling._keys

    def move_first(hour):
        monkeypatch.setattr(reconciling, "_keys", keys)
        assert [each.packed for each in packing_stored.pack_model(model)] == [3]
        return keys(hour)

    monkeypatch.setattr(reconciling, "_keys", move_first)
    assert reconcile(stream) == 0
    assert reconcile(stream) == 0
