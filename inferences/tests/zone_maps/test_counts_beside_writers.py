"""Counts beside everything that writes at once: each is that of the rows of its snapshot."""

from __future__ import annotations

import threading
from collections.abc import Callable
from random import Random

import pytest
from django.db import connection, connections, transaction

from inferences.maintenance import compaction
from inferences.models import RegisteredModel
from inferences.models.zone_maps import Segment
from inferences.search.counting import count_matching
from inferences.search.filters import matching
from inferences.search.zone_maps import build
from inferences.store.recording import record
from inferences.tests.zone_maps.builders import EXAMPLES
from inferences.tests.zone_maps.test_counts_over_segments import (
    change,
    check_values,
    questions,
    row,
)
from istore.models import Project

WRITERS, LOOKS = 3, 25


@pytest.fixture
def beside_writers(transactional_db):
    """A model whose segments are built, and what runs acts beside a test until it ends."""
    project = Project.objects.create(project_id="harbour")
    model = RegisteredModel.objects.create(
        model_id="kept", project=project, task_type="Object Detection"
    )
    done, failed, threads = threading.Event(), [], []

    def start(act: Callable[[int], object]) -> None:
        def repeat() -> None:
            number = 0
            try:
                while not done.is_set():
                    act(number)
                    number += 1
            except Exception as error:
                failed.append(error)
            finally:
                connections.close_all()

        threads.append(threading.Thread(target=repeat))
        threads[-1].start()

    try:
        yield model, start, failed
    finally:
        done.set()
        for each in threads:
            each.join()
    assert not failed, failed


@pytest.mark.parametrize("seed", range(max(EXAMPLES // 18, 2)))
def test_a_count_is_that_of_the_rows_of_its_snapshot(beside_writers, seed):
    """Insert, edit, hide, restore, remove, build and compact; ask both ways in one snapshot."""
    model, start, failed = beside_writers
    chance = Random(seed)
    record(model, [row(chance, str(number)) for number in range(100)])
    build.seal()
    assert Segment.objects.exclude(live=None).count() > 5

    def writer(name: int) -> Callable[[int], None]:
        own = Random(f"{seed} {name}")
        return lambda number: change(model, own, 1_000_000 * (name + 1) + 10 * number)

    for name in range(WRITERS):
        start(writer(name))
    for act in (build.seal, compaction.compact_counts):
        start(lambda _, act=act: act())
    for _ in range(LOOKS):
        look(model, chance)
        assert not failed, failed


def look(model: RegisteredModel, chance: Random) -> None:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        for filters in chance.sample(questions(chance), 6):
            expected = matching(model, filters).count()
            assert count_matching(model, filters).number == expected, str(filters)
        check_values(model, filters, chance.choice(("labels", "string_1", "source_id")))
