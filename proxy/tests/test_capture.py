import gzip
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

from django.conf import settings as django_settings

from ingest.tests.builders import make_event
from istore import failpoints
from istore.blobs import packs
from proxy import publishing
from proxy.capture.artifacts import prepare
from proxy.publishing import Publisher
from proxy.tests.builders import make_entry, payload, prefix_of, spooled
from proxy.tests.crashing import settled


def test_as_many_are_stored_as_were_promised():
    prefixes = [prefix_of("a-0"), prefix_of("a-1")]
    names = {"inference_ids": ["a-0", "a-1"], "prefixes": prefixes}
    found = list(prepare(make_entry(b"no JSON at all", **names)))
    assert [each.event.inference_id for each in found] == ["a-0", "a-1"]
    assert [each.part.data for each in found] == [b"no JSON at all"] * 2
    assert found[0].marker["warnings"]


def test_an_answer_that_unfolds_too_far_is_kept_as_it_came(settings):
    settings.ISTORE_CAPTURE_MAX_BYTES = 100
    folded = gzip.compress(bytes(1000))
    (captured,) = prepare(make_entry(answer=folded, answer_encoding="gzip"))
    assert captured.answer.body == folded
    assert "larger" in captured.marker["warnings"][0]


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
    failpoints.arm("capture.inputs_put:1=raise")
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


def test_a_window_that_is_large_is_captured_in_several(
    capture, stream, tmp_path, settings
):
    settings.ISTORE_PACK_BYTES = len(payload("a")) * 2
    names = ["a", "b", "c", "d", "e"]
    spooled(tmp_path / "spool", *map(payload, names)).close()
    capture.look()
    assert [event.inference_id for event in stream.events] == names
    found = {packs.pack_of(each.metadata_storage_key) for each in stream.events}
    assert len(found) == 3
    assert list((tmp_path / "spool").iterdir()) == []


def test_capture_starts_where_nothing_can_be_forked():
    """Its modules are imported before Django is set up, so they may import no models."""
    found = subprocess.run(
        [sys.executable, "-c", "import proxy.capture.worker"],
        cwd=django_settings.BASE_DIR,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "istore.settings"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
