"""The process itself: killed wherever it may be, told to stop, and with nobody home."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from functools import partialmethod
from urllib.parse import quote

import pytest
import redis
from django.core.files.storage import storages
from django.db import OperationalError, connection
from django.db.models.functions import Now

from inferences.models import InferenceKey, InferencePayload
from ingest import batch_writer
from ingest.models import DeadLetter
from ingest.stream import FIELD, STREAM, Lag
from ingest.tests.builders import ALL, capture, kinds_left
from istore.tests.forked_programs import Program, forked_programs

pytestmark = pytest.mark.django_db(transaction=True)

SECONDS = 60
LISTEN = "from django.core.management import call_command; call_command('listen')"


@pytest.fixture
def listen(server, blob_variables):
    """Start ``manage.py listen`` with these failpoints on the test's own servers."""
    database = connection.settings_dict
    user, password = database["USER"], quote(database["PASSWORD"])
    host, name = quote(str(database["HOST"]), safe=""), database["NAME"]
    started = []
    with forked_programs(
        "ingest.management.commands.listen",
        **blob_variables,
        ISTORE_DATABASE_URL=f"postgresql://{user}:{password}@{host}/{name}",
        ISTORE_REDIS_URL=server.url,
        ISTORE_EVENT_IDLE_SECONDS="1",
        ISTORE_EVENT_DELIVERIES="50",
    ) as programs:

        def listen(failpoints: str = "") -> Program:
            started.append(programs.start(LISTEN, failpoints))
            return started[-1]

        yield listen
        for process in started:
            process.kill()
            process.ends()


def wait_until(true) -> None:
    deadline = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_killed_anywhere_every_event_is_recorded_exactly_once(
    model, stream, server, listen
):
    InferenceKey.objects.create(
        registered_model=model, inference_id="gone", row_id=1, removed_at=Now()
    )
    events, late, copies = [], [], []
    for point in (
        "listener.read",
        "listener.parsed",
        "listener.fetched",
        "recording.written",
        "listener.recorded",
        "listener.set_aside",
        "listener.acknowledged",
    ):
        here = [capture(model, f"{point} {n}") for n in range(5)]
        twice = capture(model, f"{point} 0")
        removed = capture(model, "gone")
        events += here
        copies += [twice, removed]
        stream.publish([*here, twice, here[1], removed, *late])
        late = here[3:]
        server.xadd(STREAM, {FIELD: b"nonsense"})
        assert listen(f"{point}=kill").ends() == -signal.SIGKILL

    process = listen()
    wait_until(lambda: stream.lag() == Lag(0, 0))
    process.terminate()

    assert process.ends(SECONDS) == 0
    stored = model.inferences.values_list("inference_id", flat=True)
    assert sorted(stored) == sorted(each.inference_id for each in events)
    # Of two that came under one id either may have been first: the record's are kept,
    # the other's are gone, and so are those of what was removed.
    kept = set(
        InferencePayload.objects.beside(model).values_list(
            "data_storage_key", flat=True
        )
    )
    for each in events + copies:
        assert kinds_left(each) == (ALL if each.data_storage_key in kept else [])
    reasons = Counter(DeadLetter.objects.values_list("reason", flat=True))
    assert reasons.pop("malformed-event") == 7
    assert not reasons


def test_told_to_stop_it_stops_within_seconds(stream, listen, model):
    process = listen()
    stream.publish([capture(model)])
    wait_until(lambda: model.inferences.exists())

    process.terminate()

    assert process.ends(20) == 0
    assert stream.lag() == Lag(0, 0)


def test_a_database_that_is_away_costs_nothing(
    model, stream, listener, monkeypatch, caplog
):
    away = iter([OperationalError("the server closed the connection")] * 3)

    def record(*arguments):
        for error in away:
            raise error
        return recorded(*arguments)

    recorded = batch_writer.record
    monkeypatch.setattr(batch_writer, "record", record)
    stream.publish([capture(model)])

    listener.step(block_ms=1)

    assert model.inferences.exists()
    assert stream.lag() == Lag(0, 0)
    assert caplog.text.count("listener waits") == 1
    assert caplog.text.count("listener goes on") == 1


def test_a_stream_that_is_away_is_waited_for(model, stream, listener, monkeypatch):
    away = iter([redis.ConnectionError("gone")] * 2)

    def acknowledge(ids):
        for error in away:
            raise error
        acknowledged(ids)

    acknowledged = stream.acknowledge
    monkeypatch.setattr(stream, "acknowledge", acknowledge)
    stream.publish([capture(model)])

    listener.step(block_ms=1)

    assert stream.lag() == Lag(0, 0)


def test_a_blob_store_that_is_away_is_waited_for(model, stream, listener, monkeypatch):
    away = iter([OSError("host unreachable")] * 4)
    kind = type(storages["default"])

    def asked(storage, act, *arguments):
        for error in away:
            raise error
        return act(storage, *arguments)

    for name in ("read_spans", "exists"):
        monkeypatch.setattr(kind, name, partialmethod(asked, getattr(kind, name)))
    stream.publish([capture(model)])

    listener.step(block_ms=1)

    assert next(away, None) is None
    assert model.inferences.exists()
    assert not DeadLetter.objects.exists()


def test_while_it_waits_it_may_be_told_to_stop(model, stream, listener, stopping):
    stream.publish([capture(model)])

    def away(*arguments):
        raise redis.ConnectionError("gone")

    listener._stream.read = away
    threading.Timer(0.2, stopping.set).start()
    listener.run()

    assert not model.inferences.exists()
