"""What became of acknowledged inferences that no record names; consumers; the spool."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta

import pytest
from django.db.models import F

from inferences.models import InferenceKey
from inferences.store import pack_rewriting, removal
from ingest import heartbeat
from ingest import verification as ours
from ingest.models import DeadLetter
from ingest.stream import GROUP, STREAM, EventStream
from ingest.tests.builders import ALL, capture, kinds_left, published_now, with_marker
from istore import blobs
from istore.checks import health, verification
from istore.db.clock import now
from istore.home import Home
from istore.models import ReleasedMember

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def this_stream(settings, server, tmp_path):
    settings.ISTORE_REDIS_URL = server.url
    settings.ISTORE_SPOOL_DIR = tmp_path / "spool"
    settings.ISTORE_SPOOL_DIR.mkdir()


@pytest.fixture
def captured(model, stored_objects):
    def put(inference_id="a", *, days=2.0):
        at = datetime.now(UTC) - timedelta(days=days)
        event = capture(model, inference_id, received_at=at, published_at=at)
        stored_objects.age()
        return event

    return put


def verify(**scope):
    report = verification.report(verification.Scope(now(), **scope))
    found = list(report.findings())
    assert not report.unfinished
    return found


def test_a_lost_event_is_found_and_published_again(model, captured, stream, listener):
    captured()

    assert [each.kind for each in verify()] == ["unrecorded"]
    assert [each.repaired for each in verify(repair=True)] == [True]
    listener.step(block_ms=1)

    assert model.inferences.get().inference_id == "a"
    assert verify(deep=True) == []


def test_while_the_stream_holds_anything_nothing_is_lost(captured, stream):
    event = captured()
    stream.ensure_group()
    stream.publish([published_now(event)])

    assert verify(repair=True) == []
    assert kinds_left(event) == ALL


def test_an_event_that_was_set_aside_keeps_its_objects(captured, stream):
    event = captured()
    DeadLetter.objects.create(
        stream_id="1-1",
        reason="refused",
        payload=event.to_json(),
        metadata_storage_key=event.metadata_storage_key,
    )

    assert verify(repair=True) == []
    assert kinds_left(event) == ALL


def test_what_is_left_of_a_removed_inference_goes(model, captured, deliver):
    event = captured()
    deliver(published_now(event))
    removal.remove_one("test", model, "a")
    captured("a")  # a copy that comes late, and dies before it is dropped

    found = verify(repair=True)

    assert {(each.kind, each.repaired) for each in found} == {("unnamed", True)}
    # In a bucket a pack goes with the next rewriting.
    ReleasedMember.objects.update(released_at=F("released_at") - timedelta(hours=1))
    pack_rewriting.rewrite_all()
    assert not list(blobs.walk())
    assert verify() == []


def test_repair_never_brings_back_what_may_have_been_removed(
    model, captured, deliver, server
):
    event = captured(days=40)
    deliver(published_now(event))
    removal.remove_one("test", model, "a")
    captured("a", days=40)
    InferenceKey.objects.all().delete()  # the tombstone's time is over

    (found,) = verify(repair=True)

    assert (found.kind, found.repaired) == ("unrecorded", False)
    assert server.xlen(STREAM) == 1  # nothing was published


def test_an_unreadable_marker_is_told_and_left(model, captured, stored_objects):
    event = with_marker(captured(), b"{")
    stored_objects.age()

    (found,) = verify(repair=True)

    assert (found.kind, found.repaired) == ("marker-unreadable", False)
    assert kinds_left(event) == ALL


def test_dead_consumers_leave_the_group(server, stream, monkeypatch):
    stream.ensure_group()
    # Redis before 7.2 makes none for who reads nothing.
    server.xgroup_createconsumer(STREAM, GROUP, "one")
    other = EventStream(server.url, consumer="busy")
    stream.publish([])
    server.xadd(STREAM, {"event": b"{}"})
    assert other.read(1, block_ms=1)
    other.close()
    assert verify() == []

    monkeypatch.setattr(ours, "DEAD_AFTER", timedelta(0))
    time.sleep(0.01)
    found = verify(repair=True)

    assert [(each.where, each.repaired) for each in found] == [("one", True)]
    names = [each["name"] for each in server.xinfo_consumers(STREAM, GROUP)]
    assert names == [b"busy"]  # it holds an entry


def test_files_of_the_spool_that_wait_for_a_person_are_told(settings):
    for name in ("x.set-aside", "y.damaged", f"{'0' * 32}-00000001.open"):
        (settings.ISTORE_SPOOL_DIR / name).write_bytes(b"x")

    assert [each.where for each in verify()] == ["x.set-aside", "y.damaged"]


def test_without_redis_the_run_is_unfinished(settings):
    settings.ISTORE_REDIS_URL = "unix:///nowhere.sock"
    report = verification.report(verification.Scope(now()))
    list(report.findings())

    assert list(report.unfinished) == ["consumers"]
    assert report.exit_code == 2


def test_readiness_tells_that_the_listener_is_silent(settings, tmp_path):
    settings.ISTORE_HOME = Home(tmp_path)
    assert health.watched["listener"]() is None  # none ever ran here

    heartbeat.beat()
    assert health.watched["listener"]() is None

    before = time.time() - 90
    os.utime(settings.ISTORE_HOME.run / "listener.alive", (before, before))
    assert "90 s ago" in health.watched["listener"]()


def fate_of(event, model):
    marker = event.metadata_storage_key
    return ours.fates(model, [marker], verification.Scope(now()))[marker]


@pytest.mark.parametrize("taken", [False, True])
def test_a_copy_of_what_lives_is_told_from_what_was_removed(model, deliver, taken):
    if taken:  # so the record has another id than its event
        deliver(capture(model, "a", picture=b"another"))
    deliver(capture(model, "a"))
    copy = capture(model, "a")
    if not taken:
        assert fate_of(copy, model).is_copy
        assert not fate_of(copy, model).removed

    rows = model.inferences.order_by("-inference_id")
    assert removal.remove_one("someone", model, rows[0].inference_id)

    assert fate_of(copy, model).removed
