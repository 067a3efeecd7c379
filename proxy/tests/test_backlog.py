"""The backlog on the operator page: what waits, since when, and until when."""

import os
import time
from datetime import timedelta
from types import SimpleNamespace

import pytest
import redis
from django.core.management import CommandError, call_command
from django.template.loader import render_to_string

from ingest.stream import SAMPLED, SAMPLED_SECONDS, EventStream, Lag
from ingest.tests.test_events import make_event
from proxy import backlog
from proxy.spool.frames import frame, header
from proxy.spool.spool_files import SpoolFile
from tests.redis_databases import database_url

OWNER = "0" * 32


@pytest.fixture
def stream(settings, worker_id, tmp_path):
    url = database_url(3, worker_id)
    settings.ISTORE_REDIS_URL, settings.ISTORE_SPOOL_DIR = url, tmp_path / "spool"
    with redis.Redis.from_url(url) as client:
        client.flushdb()
        stream = EventStream(consumer="one")
        stream.ensure_group()
        yield SimpleNamespace(events=stream, redis=client)
        stream.close()
        client.flushdb()


def sample(stream, monkeypatch, seconds_ago: float) -> None:
    """Take a sample as if it were some time ago."""
    stream.redis.delete(SAMPLED)
    with monkeypatch.context() as patched:
        now = int(time.time() - seconds_ago), 0
        patched.setattr(stream.events._redis, "time", lambda: now)
        stream.events.note_progress()


def told() -> str:
    return render_to_string("operations/_backlog.html", {"panel": backlog.panel()})


def test_nothing_waits(stream):
    assert backlog.panel()["is_empty"]
    assert "Nothing waits" in told()


def test_events_are_worked_off_at_the_rate_of_the_last_minutes(stream, monkeypatch):
    sample(stream, monkeypatch, 50)
    stream.events.publish([make_event(inference_id=str(n)) for n in range(150)])
    read = stream.events.read(100, 1)
    stream.events.acknowledge([each.id for each in read[:90]])

    stage = backlog.panel()["stream"]

    assert stage.waiting == 60  # ten are pending
    assert stage.rate == pytest.approx(2, rel=0.1)
    assert stage.growth == pytest.approx(1, rel=0.1)
    assert stage.left.total_seconds() == pytest.approx(30, rel=0.1)
    assert timedelta(0) <= stage.oldest < timedelta(seconds=20)
    assert "10 of them pending" in told()


def test_without_a_sample_no_rate_is_claimed(stream, monkeypatch):
    stream.events.publish([make_event()])
    assert "the rate is not measured" in told()
    sample(stream, monkeypatch, SAMPLED_SECONDS + 5)
    assert backlog.panel()["stream"].rate is None


def test_a_listener_that_does_nothing_is_told(stream, monkeypatch):
    stream.events.publish([make_event()])
    sample(stream, monkeypatch, 60)
    assert "Nothing of it was worked off" in told()
    assert "unknown" in told()


def test_what_is_not_captured_waits_in_the_spool(stream, settings, monkeypatch):
    sample(stream, monkeypatch, 10)
    settings.ISTORE_SPOOL_DIR.mkdir()
    segment = SpoolFile(settings.ISTORE_SPOOL_DIR, OWNER, 1)
    head, first = header(segment.identity), frame(segment.identity, b"x" * 1000, 0)
    segment.path.write_bytes(head + first + frame(segment.identity, b"y" * 500, 1))
    written_at = time.time() - 30
    os.utime(segment.path, (written_at, written_at))
    segment.note_captured(len(head) + len(first))
    stream.events.note_progress(1000)

    stage = backlog.panel()["spool"]

    assert 500 <= stage.waiting < 600
    assert stage.oldest.total_seconds() == pytest.approx(30, abs=3)
    assert stage.rate == pytest.approx(100, rel=0.15)
    assert "at 10" in told() or "at 9" in told()
    segment.note_captured(segment.size())
    assert backlog.panel()["is_empty"]


def test_samples_are_few_however_often_progress_is_noted(stream):
    for _ in range(100):
        stream.events.note_progress(1)
    (first, last) = stream.events.backlog().progress
    assert (first.captured, last.captured) == (1, 100)
    assert stream.events.lag() == Lag(0, 0)


def test_a_spool_is_drained_when_all_of_it_is_captured(settings, tmp_path, capsys):
    settings.ISTORE_SPOOL_DIR = tmp_path / "spool"
    call_command("drain_spool", seconds=0)
    assert "empty" in capsys.readouterr().out

    settings.ISTORE_SPOOL_DIR.mkdir()
    segment = SpoolFile(settings.ISTORE_SPOOL_DIR, OWNER, 1)
    head, entry = header(segment.identity), frame(segment.identity, b"x" * 1000, 0)
    segment.path.write_bytes(head + entry)
    with pytest.raises(CommandError, match=f"^{len(entry)} bytes wait"):
        call_command("drain_spool", seconds=0)

    segment.note_captured(len(head) + len(entry))
    call_command("drain_spool", seconds=0)
    with pytest.raises(CommandError, match="--seconds: is not between"):
        call_command("drain_spool", seconds=-1)
