from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from django.db import OperationalError

from istore.tasks import lease_keeper
from istore.tasks.lease_keeper import LeaseKeeper
from istore.tasks.tracking import LeaseLost, Stopped

pytestmark = pytest.mark.django_db


class Task:
    """A task whose records end as told; one that is not to heed a stop succeeds."""

    def __init__(self, *answers: Exception | None) -> None:
        self.answers, self.records = iter(answers), []

    def record(self, *, heed_stop: bool, **values: object) -> None:
        self.records.append(values)
        if heed_stop and (error := next(self.answers, None)) is not None:
            raise error


@pytest.fixture(autouse=True)
def often(monkeypatch):
    monkeypatch.setattr(lease_keeper, "RENEW_SECONDS", 0.01)


def until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def raised_by(check: Callable[[], None]) -> type[Exception] | None:
    try:
        check()
    except (LeaseLost, Stopped) as error:
        return type(error)
    return None


def test_a_loop_renews_and_writes_its_progress_when_it_is_time():
    task = Task()
    keeper = LeaseKeeper(task, lambda: {"progress_count": 3})
    keeper.renew_if_due()
    assert task.records == []
    time.sleep(0.02)
    keeper.renew_if_due()
    assert task.records == [{"progress_count": 3}]


def test_a_loop_ends_when_its_task_is_stopped():
    keeper = LeaseKeeper(Task(Stopped("so")))
    time.sleep(0.02)
    with pytest.raises(Stopped):
        keeper.renew_if_due()


def test_a_database_that_is_away_for_a_moment_does_not_end_the_thread():
    task = Task(OperationalError("away"), None, LeaseLost("taken over"))
    with LeaseKeeper(task).in_background() as check:
        until(lambda: raised_by(check) is LeaseLost)
    assert len(task.records) == 3


def test_the_lease_of_a_stopped_task_is_kept_until_the_work_ends():
    task = Task(Stopped("so"))
    with LeaseKeeper(task).in_background() as check:
        until(lambda: raised_by(check) is Stopped)
        known = len(task.records)
        until(lambda: len(task.records) > known)


def test_the_thread_ends_with_a_block_that_fails():
    task = Task()
    with suppress(ValueError), LeaseKeeper(task).in_background():
        until(lambda: bool(task.records))
        raise ValueError
    known = len(task.records)
    time.sleep(0.05)
    assert len(task.records) == known
