"""Segments are built while others write, and no row is lost."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from random import Random

import pytest
from django.db import connections, transaction

from inferences.models import (
    RegisteredModel,
)
from inferences.models.metadata_values import MetadataValue
from inferences.models.zone_maps import Segment, SegmentTouch
from inferences.search.filters import And
from inferences.search.zone_maps import build
from inferences.store import metadata_edits
from inferences.store.recording import record
from inferences.tests.zone_maps.builders import (
    counter,
    counting,
    findings,
    inference,
    names,
    plain,
)
from istore.models import Project


@pytest.fixture
def kept(transactional_db):
    project = Project.objects.create(project_id="harbour")
    model = RegisteredModel.objects.create(
        model_id="kept", project=project, task_type="Object Detection"
    )
    counting(model)
    return model


class Writer(threading.Thread):
    """Writes in a transaction that stays open until it is told to commit."""

    def __init__(self, write) -> None:
        super().__init__()
        self.write, self.written = write, threading.Event()
        self.go_on, self.failed = threading.Event(), None

    def run(self) -> None:
        try:
            with transaction.atomic():
                self.write()
                self.written.set()
                assert self.go_on.wait(30)
        except Exception as error:
            self.failed = error
        finally:
            self.written.set()
            connections.close_all()

    @contextmanager
    def at_work(self):
        self.start()
        assert self.written.wait(30)
        try:
            yield
        finally:
            self.go_on.set()
            self.join()
        assert self.failed is None, self.failed


def late(model: RegisteredModel) -> None:
    record(model, [inference("late", 20.5, {"counter": 7000})])


def change(model: RegisteredModel) -> None:
    value = MetadataValue("counter", "int", "7000")
    metadata_edits.put_value("test", model, "20", value, replace=True)


WRITES = [(late, "late"), (change, "20")]


@pytest.mark.parametrize(("write", "name"), WRITES)
def test_a_writer_from_before_the_announcement_is_waited_for(
    kept, monkeypatch, write, name
):
    monkeypatch.setattr(build, "WAIT_SECONDS", 0.2)
    with Writer(lambda: write(kept)).at_work():
        assert build.seal() == 0
        assert not Segment.objects.exclude(built_at=None).exists()
        assert len(names(kept, counter("<", 7000))) == 50
    assert not SegmentTouch.objects.exists()  # the writer knew of no segment

    assert build.seal() > 5

    assert names(kept, counter(">=", 7000)) == [name]
    assert findings() == []


@pytest.mark.parametrize(("write", "name"), WRITES)
def test_a_writer_who_commits_after_the_build_leaves_a_touch(kept, write, name):
    build.announce_all()
    assert build.wait_for_writers()
    ((model_key, last),) = build.announced_ids()
    with Writer(lambda: write(kept)).at_work():
        assert len(list(build.build_segments(model_key, last))) > 5
        assert names(kept, counter(">=", 7000)) == []

    assert names(kept, counter(">=", 7000)) == [name]
    assert findings() == []
    assert build.seal() >= 1
    assert not SegmentTouch.objects.exists()
    assert names(kept, counter(">=", 7000)) == [name]


def test_what_another_announced_meanwhile_is_not_built(model):
    counting(model)
    build.announce_all()

    assert list(build.build_segments(model.pk, build.FIRST)) == []
    record(model, [inference("late", 20.5)])
    assert list(build.build_segments(model.pk, build.FIRST)) == []

    assert build.seal() > 5


def test_two_do_not_build_at_once(kept):
    build.announce_all()
    ((model_key, last),) = build.announced_ids()

    with Writer(lambda: build._build_next(model_key, last)).at_work():
        assert list(build.build_segments(model_key, last)) == []

    assert len(list(build.build_segments(model_key, last))) > 5


def test_no_row_is_ever_lost_beside_writers_and_builders(kept):
    """Two who write late rows and change numbers, one who seals; all looked at meanwhile."""
    done, failed = threading.Event(), []

    def repeat(act) -> None:
        try:
            number = 0
            while not done.is_set():
                act(number)
                number += 1
        except Exception as error:
            failed.append(error)
        finally:
            connections.close_all()

    def writer(name: str):
        chance = Random(name)

        def act(number: int) -> None:
            ids = [f"{name}-{number}-{each}" for each in range(3)]
            value = chance.randrange(7000, 9000)
            rows = [
                inference(each, chance.uniform(0, 110), {"counter": value})
                for each in ids
            ]
            record(kept, rows)
            changed = MetadataValue("counter", "int", str(value))
            one = str(chance.randrange(100))
            metadata_edits.put_value("test", kept, one, changed, replace=True)

        return act

    acts = [writer("a"), writer("b"), lambda _: build.seal()]
    until = time.monotonic() + 25
    threads = [threading.Thread(target=repeat, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    try:
        for _ in range(40):
            assert findings() == []
            if time.monotonic() > until:  # a look takes longer the more was written
                break
            assert not failed, failed
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert not failed, failed
    build.seal()
    assert not SegmentTouch.objects.exists()
    for value in range(7000, 9000, 97):
        filters = And((counter(">=", value), counter("<", value + 97)))
        assert names(kept, filters) == plain(kept, filters, "desc")[:50]
