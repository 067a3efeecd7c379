import gzip
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson

from ingest.tests.builders import make_event
from istore import blobs, failpoints
from proxy import publishing
from proxy.capture import backpressure, worker
from proxy.capture.artifacts import event_of_marker, prepare, store_blobs
from proxy.capture.backpressure import CaptureThrottle
from proxy.publishing import Publisher
from proxy.spool.spool_files import SpoolFile
from proxy.tests.builders import make_entry, payload, spooled
from proxy.tests.crashing import settled


def test_a_marker_that_is_there_stands():
    (first,) = prepare(make_entry())
    (again,) = prepare(make_entry())
    store_blobs(first, is_replay=False)
    assert store_blobs(again, is_replay=True) == first.event
    assert event_of_marker(first.event.metadata_storage_key) == first.event


def test_a_marker_that_is_damaged_is_put_again():
    (captured,) = prepare(make_entry())
    blobs.put(captured.event.metadata_storage_key, b"{half of")
    assert store_blobs(captured, is_replay=True) == captured.event
    assert event_of_marker(captured.event.metadata_storage_key) == captured.event


def test_as_many_are_stored_as_were_promised():
    names = {"inference_ids": ["a-0", "a-1"], "prefixes": ["p", "q"]}
    found = list(prepare(make_entry(b"no JSON at all", **names)))
    assert [each.event.inference_id for each in found] == ["a-0", "a-1"]
    assert [each.part.data for each in found] == [b"no JSON at all"] * 2
    assert found[0].marker["warnings"]


def test_an_answer_that_unfolds_too_far_is_kept_as_it_came(settings):
    settings.ISTORE_PROXY_MAX_RESPONSE_BYTES = 100
    folded = gzip.compress(bytes(1000))
    (captured,) = prepare(make_entry(answer=folded, answer_encoding="gzip"))
    assert captured.answer.body == folded
    assert "larger" in captured.marker["warnings"][0]


def test_a_large_answer_is_not_in_the_marker(settings):
    settings.ISTORE_ANSWER_INLINE_BYTES = 10
    (captured,) = prepare(make_entry(answer=b'{"outputs": []}'))
    assert captured.marker["answer"]["text"] is None
    assert captured.marker["answer"]["size"] == 15


# -- the process


def test_a_closed_segment_is_captured_and_removed(capture, stream, tmp_path):
    segment = spooled(tmp_path / "spool", payload("a"), payload("b"))
    assert capture.look()
    assert segment.path.exists() and not capture.look()
    segment.close()
    capture.look()
    assert [event.inference_id for event in stream.events] == ["a", "b"]
    assert list((tmp_path / "spool").iterdir()) == []


def test_segments_of_those_who_are_gone_are_replayed(capture, stream, tmp_path):
    spooled(tmp_path / "spool", payload("a"), owner="1" * 32, tail=b"torn")
    capture.look()
    assert [event.inference_id for event in stream.events] == ["a"]
    assert list((tmp_path / "spool").iterdir()) == []


def test_an_entry_nobody_can_read_is_set_aside(capture, stream, tmp_path):
    spooled(tmp_path / "spool", b"nonsense", payload("b")).close()
    capture.look()
    assert [event.inference_id for event in stream.events] == ["b"]
    (kept,) = (tmp_path / "spool").glob("*.set-aside")
    assert kept.read_bytes() == b"nonsense"


def test_a_damaged_segment_is_kept_for_people(capture, stream, tmp_path):
    segment = spooled(tmp_path / "spool", payload("a"), payload("b"))
    content = bytearray(segment.path.read_bytes())
    content[-1] ^= 1
    segment.path.write_bytes(content)
    segment.close()
    capture.look()
    assert [event.inference_id for event in stream.events] == ["a"]
    (kept,) = (tmp_path / "spool").iterdir()
    assert kept.suffix == ".damaged"
    assert bytes(content)[-100:] in kept.read_bytes()


def test_a_blob_that_cannot_be_put_is_tried_again(capture, stream, tmp_path):
    failpoints.arm("capture.answer_put:1=raise")
    try:
        spooled(tmp_path / "spool", payload("a"))
        capture.look()
    finally:
        failpoints.arm("")
    assert [event.inference_id for event in stream.events] == ["a"]


def test_redis_away_leaves_the_event_to_reconcile(stream):
    publisher = Publisher(threading.Event())
    stream.is_away = True
    assert publisher.publish([make_event(request_received_at=datetime.now(UTC))])
    assert stream.events == []
    stream.is_away = False
    assert publisher.publish([make_event()])
    assert [event.inference_id for event in stream.events] == [
        make_event().inference_id
    ]


def test_an_event_too_old_for_reconcile_waits_for_redis(stream, monkeypatch):
    monkeypatch.setattr(publishing, "LONGEST_WAIT", 0.01)
    stop = threading.Event()
    publisher = Publisher(stop)
    stream.is_away = True
    old = make_event(request_received_at=datetime.now(UTC) - timedelta(hours=30))
    threading.Timer(0.2, setattr, (stream, "is_away", False)).start()
    assert publisher.publish([old])
    (event,) = stream.events
    assert settled(event.as_dict()) == settled(old.as_dict())
    stream.is_away = True
    threading.Timer(0.1, stop.set).start()
    assert not publisher.publish([old])


def test_a_marker_is_json_that_holds_the_whole_event():
    (captured,) = prepare(make_entry())
    store_blobs(captured, is_replay=False)
    marker = orjson.loads(blobs.get(captured.event.metadata_storage_key))
    assert marker["event"] == captured.event.as_dict()
    assert marker["format"] == 1


# -- calls that come fast


def rushed(
    directory: Path, monkeypatch, settings, held: int
) -> tuple[CaptureThrottle, SpoolFile]:
    """A segment that grows by three hundred entries of a kilobyte in a second."""
    settings.ISTORE_SPOOL_MAX_BYTES = held * 10
    clock = iter(range(1, 100))
    monkeypatch.setattr(backpressure.time, "monotonic", lambda: next(clock))
    rush, segment = CaptureThrottle(), spooled(directory, b"x")
    rush.should_yield([segment], 0)
    rush.note_captured(1000)
    with open(segment.path, "ab") as file:
        file.write(bytes(300_000))
    return rush, segment


def test_capture_waits_while_calls_come_fast(tmp_path, monkeypatch, settings):
    rush, segment = rushed(tmp_path, monkeypatch, settings, 10**6)
    assert rush.should_yield([segment], 300_000)
    assert not rush.should_yield([segment], 300_000)  # nothing came since


def test_capture_does_not_wait_when_much_is_held(tmp_path, monkeypatch, settings):
    rush, segment = rushed(tmp_path, monkeypatch, settings, 200_000)
    assert not rush.should_yield([segment], 300_000)


def test_an_entry_is_captured_once_when_a_rush_breaks_in(
    capture, stream, tmp_path, monkeypatch
):
    monkeypatch.setattr(worker, "AT_ONCE", 2)
    waits = iter([False, True])
    monkeypatch.setattr(capture, "_has_to_wait", lambda: next(waits, False))
    names = ["a", "b", "c", "d", "e"]
    spooled(tmp_path / "spool", *map(payload, names)).close()
    capture.look()
    assert [event.inference_id for event in stream.events] == names[:2]
    capture.look()
    assert [event.inference_id for event in stream.events] == names
    assert list((tmp_path / "spool").iterdir()) == []
