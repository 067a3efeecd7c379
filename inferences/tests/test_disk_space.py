"""What removals left behind goes back to the disk, and no range of ids is ever lost."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from django.db import connection, connections

from inferences.maintenance import disk_space
from inferences.models import Inference, InferencePayload
from inferences.models.row_ids import first_id_at
from inferences.store import partitions
from inferences.store.partitions import TABLES, add_range, partitions_of
from inferences.store.removal import RECORDS, intend_all
from inferences.tasks import give_back_disk_space
from inferences.tests.builders import size_of
from istore.db.clock import now

pytestmark = pytest.mark.django_db

FIRST = datetime(2024, 1, 1, tzinfo=UTC)
MONTHS = [first_id_at(FIRST + timedelta(days=30 * month)) for month in range(4)]


@pytest.fixture(autouse=True)
def any_day_of_a_month(monkeypatch):
    """The past ends with the month, which on its first day is not long enough ago."""
    monkeypatch.setattr(disk_space, "SETTLED", timedelta())


@pytest.fixture
def months(db):
    """The past in five partitions: until the first month, three months, and the rest."""
    [end] = [
        upper
        for start, upper in partitions_of(TABLES[0].name).values()
        if start is None
    ]
    bounds = [None, *MONTHS, end]
    with connection.cursor() as cursor:
        for table in TABLES:
            names = partitions_of(table.name).items()
            [past] = [name for name, (start, _) in names if start is None]
            cursor.execute(f"DROP TABLE {past}")
        for number, (lower, upper) in enumerate(pairwise(bounds)):
            for statement in add_range(lower, upper, f"part_{number}"):
                cursor.execute(statement)
    return bounds


def day(month: int, number: int = 1) -> datetime:
    return FIRST + timedelta(days=30 * month + number)


def ranges() -> list[tuple[int | None, int]]:
    """The bounds of the old partitions, which are the same for every table."""
    found = [
        sorted(partitions_of(table.name).values(), key=lambda b: b[1])
        for table in TABLES
    ]
    assert all(each == found[0] for each in found)
    for (_, before), (after, _) in pairwise(found[0]):
        assert before == after  # no hole
    limit = first_id_at(now() - disk_space.SETTLED)
    return [each for each in found[0] if each[1] <= limit]


def remove_all(model, **those) -> None:
    for _ in intend_all("test", model, lambda: model.inferences.live().filter(**those)):
        pass
    RECORDS.finish(model)


def test_empty_partitions_beside_each_other_become_one(months, model, make_inference):
    kept = make_inference(created_at=day(1), inference_id="kept")

    give_back_disk_space()

    before, first, second, end = None, MONTHS[1], MONTHS[2], months[-1]
    assert ranges() == [(before, first), (first, second), (second, end)]
    assert Inference.objects.get(inference_id="kept") == kept
    assert disk_space.give_back(now()) == 0  # there is nothing more to do


def test_a_joined_range_takes_what_comes_late(months, model, make_inference):
    disk_space.give_back(now())
    assert ranges() == [(None, months[-1])]

    late = [
        make_inference({"n": 1}, created_at=day(month, 3)) for month in range(-1, 4)
    ]

    assert model.inferences.count() == len(late)
    remove_all(model)
    disk_space.give_back(now())
    make_inference(created_at=day(2))
    assert model.inferences.count() == 1


@pytest.mark.parametrize("left", ["protected", "soft-deleted", "intent"])
def test_what_must_stay_keeps_its_partition(months, model, make_inference, left):
    row = make_inference(created_at=day(1), is_protected=left == "protected")
    if left == "soft-deleted":
        Inference.objects.filter(id=row.id).update(deleted=True)
    if left == "intent":  # whose row is gone already
        InferencePayload.objects.filter(id=row.id).update(removal_at=now())
        Inference.objects.filter(id=row.id).delete()

    disk_space.give_back(now())

    assert (MONTHS[1], MONTHS[2]) in ranges()
    assert InferencePayload.objects.filter(id=row.id).exists()


def test_an_emptied_partition_shrinks_with_its_indexes(
    months, model, make_inference, settings
):
    neighbours = {make_inference(created_at=day(month)) for month in (0, 2)}
    for n in range(300):
        make_inference({"n": n, "text": "x" * 400}, created_at=day(1))
    full = size_of(MONTHS[1])
    those = {"id__gte": MONTHS[1], "id__lt": MONTHS[2]}
    remove_all(model, **those)
    settings.ISTORE_EMPTY_PARTITION_BYTES = full

    assert disk_space.give_back(now()) >= full

    assert size_of(MONTHS[1]) < full / 2
    assert set(model.inferences.all()) == neighbours


def test_a_late_inference_that_comes_meanwhile_stays(
    months, model, make_inference, monkeypatch
):
    runs = list(disk_space._empty_runs(now()))
    monkeypatch.setattr(disk_space, "_empty_runs", lambda _: runs)
    make_inference(created_at=day(1))

    assert disk_space.give_back(now()) == 0
    assert model.inferences.count() == 1


@pytest.mark.django_db(transaction=True)
def test_another_worker_that_was_quicker_is_no_failure(monkeypatch):
    gone = disk_space.Range(None, MONTHS[0], ("inferences_inference_no_more",))
    monkeypatch.setattr(disk_space, "_empty_runs", lambda _: [[gone]])

    assert disk_space.give_back(now()) == 0


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("lock", ["ACCESS SHARE", "SHARE UPDATE EXCLUSIVE"])
def test_a_partition_in_use_is_tried_until_it_is_free(monkeypatch, settings, lock):
    """That of a reader, and that of a vacuum."""
    settings.ISTORE_EMPTY_PARTITION_BYTES = 0
    names = partitions_of(TABLES[0].name).items()
    [past] = [name for name, (start, _) in names if start is None]
    other = connections.create_connection("default")
    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {past} IN {lock} MODE")
        assert disk_space.give_back(now(), patience=0) == 0

        monkeypatch.setattr(time, "sleep", lambda _: other.rollback())
        assert disk_space.give_back(now()) > 0
    finally:
        other.close()


def test_partitions_in_use_are_left_alone(months, settings):
    settings.ISTORE_EMPTY_PARTITION_BYTES = 0
    before = partitions.upper_bound()
    recent = [
        each
        for each in partitions_of(TABLES[0].name).values()
        if each[1] > first_id_at(now() - disk_space.SETTLED)
    ]

    disk_space.give_back(now())

    assert partitions.upper_bound() == before
    assert set(recent) <= set(partitions_of(TABLES[0].name).values())
