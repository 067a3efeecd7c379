"""Tracked tasks: their queue messages are sent once, and again if they are lost."""

from __future__ import annotations

from threading import Event

import pytest

from istore.tasks import tracking
from istore.tasks.periodic import requeue_stale
from istore.tasks.tracking import TaskState
from retention import policies
from retention.models import RetentionTask
from retention.tasks import start_due_policies
from retention.tests.builders import (
    hours_ago,
    lease_runs_out,
    policy_of,
)


def test_a_task_is_sent_once_committed_and_is_scheduled_then(
    model, queue, django_capture_on_commit_callbacks
):
    policy = policy_of(model)
    with django_capture_on_commit_callbacks(execute=True):
        task = policies.open_task("test", policy)
        assert not queue

    assert queue == [("retention.tasks.run_retention_task", [str(task.pk)])]
    task.refresh_from_db()
    assert task.state == TaskState.SCHEDULED
    with django_capture_on_commit_callbacks(execute=True):
        requeue_stale()
    assert len(queue) == 1


def test_the_message_of_a_lost_or_unclaimed_task_is_sent_again(
    model, queue, django_capture_on_commit_callbacks
):
    task = policies.open_task("test", policy_of(model))

    def resent() -> int:
        before = len(queue)
        with django_capture_on_commit_callbacks(execute=True):
            requeue_stale()
        return len(queue) - before

    assert resent() == 1  # the process died before it could
    assert resent() == 0
    RetentionTask.objects.update(notified_at=hours_ago(1))
    assert resent() == 1  # the queue lost it
    assert task.claim()
    RetentionTask.objects.update(notified_at=hours_ago(1))
    assert resent() == 0  # somebody is at it
    lease_runs_out()
    assert resent() == 1
    task.stop()
    RetentionTask.objects.update(notified_at=hours_ago(1))
    assert resent() == 0


def test_the_beat_opens_what_is_due(model, queue, django_capture_on_commit_callbacks):
    policy_of(model, automated_interval=1)

    with django_capture_on_commit_callbacks(execute=True):
        start_due_policies()

    assert len(queue) == 1
    assert RetentionTask.objects.get().by_schedule


def test_a_worker_that_stops_gives_its_task_back_at_once(
    model, queue, django_capture_on_commit_callbacks, monkeypatch
):
    task = policies.open_task("test", policy_of(model))
    monkeypatch.setattr(tracking, "is_stopping", Event())
    assert task.claim()
    with django_capture_on_commit_callbacks(execute=True), task.recording_outcome():
        task.advance()
        tracking.is_stopping.set()  # as Celery's signal does
        task.record(heed_stop=False)  # what is done is counted
        task.advance()
        pytest.fail("It went on.")

    task.refresh_from_db()
    assert (task.attempt, task.attempts_without_progress) == (1, 0)
    assert queue == [("retention.tasks.run_retention_task", [str(task.pk)])]
    with django_capture_on_commit_callbacks(execute=True):
        assert not task.claim()  # a message that it has taken is for another, too
    assert len(queue) == 2
    tracking.is_stopping.clear()
    lease_runs_out()  # the clock of this transaction stands still
    assert RetentionTask.objects.get(pk=task.pk).claim()
