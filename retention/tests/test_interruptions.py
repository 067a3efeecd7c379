"""Tasks that break off, workers and beats that meet: each thing goes once, all of it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection

from inferences.models import InferencePayload
from inferences.store import removal
from inferences.store.protection import Protection, protect_one
from inferences.tasks import finish_removals
from istore import failpoints
from istore.db import clock
from istore.tasks.tracking import TaskState
from retention import policies, sweeping
from retention.models import RetentionPolicy, RetentionTask
from retention.sweeping import sweep
from retention.tasks import run_retention_task
from retention.tests.builders import (
    STEPS,
    hours_ago,
    lease_runs_out,
    live_ids,
    policy_of,
    stored,
    stored_keys,
    with_input,
)


@pytest.fixture
def armed():
    yield failpoints.arm
    failpoints.arm("")


@pytest.fixture
def old(make_inference, settings):
    """Five that lose record and input, three that lose their input, one protected."""
    settings.ISTORE_REMOVAL_BATCH = 2

    def make(name: str, hours: float, **fields) -> None:
        make_inference(
            inference_id=name,
            created_at=hours_ago(hours),
            data_storage_key=stored(),
            data_size=3,
            **fields,
        )

    for number in range(5):
        make(f"old {number}", 100 + number)
    for number in range(3):
        make(f"aged {number}", 50 + number)
    make("protected", 200, is_protected=True)
    make("young", 1)


def is_done(task: RetentionTask, model) -> None:
    """All of it is gone, once, and nothing else."""
    task.refresh_from_db()
    assert (task.state, task.reason) == (TaskState.COMPLETE, "")
    assert (task.deleted_record_count, task.deleted_blob_count) == (5, 8)
    assert (task.total_record_count, task.total_blob_count) == (5, 8)
    assert task.deleted_bytes == task.total_bytes == 24
    assert task.open_batch is None
    aged = {f"aged {number}" for number in range(3)}
    assert live_ids(model) == aged | {"protected", "young"}
    assert with_input(model) == {"protected", "young"}
    assert len(stored_keys()) == 2
    payloads = InferencePayload.objects.beside(model)
    assert not payloads.exclude(removal_at=None, input_removal_at=None).exists()


@pytest.mark.parametrize(("action", "passage"), [("hard", 1), ("hard", 2), ("soft", 1)])
@pytest.mark.parametrize("step", STEPS)
def test_whatever_step_it_breaks_off_at_it_ends_complete(
    model, old, armed, step, action, passage
):
    task = policies.open_task("test", policy_of(model, delete_action=action))
    armed(f"{step}:{passage}=raise")
    if step == "retention.claimed" and passage == 1:
        # Outside of what is told as an outcome: as if the worker had died here.
        with pytest.raises(failpoints.Failure):
            sweep(task)
        lease_runs_out()
    else:
        sweep(task)

    while task.state == TaskState.RUNNING:
        task = RetentionTask.objects.get()
        sweep(task)

    is_done(task, model)


def test_what_the_beat_carries_out_in_between_is_counted(model, old, armed):
    task = policies.open_task("test", policy_of(model, delete_action="hard"))
    armed("retention.intended:1=raise, retention.intended:5=raise")
    sweep(task)
    InferencePayload.objects.exclude(removal_at=None).update(removal_at=hours_ago(1))
    finish_removals()
    assert not InferencePayload.objects.exclude(removal_at=None).exists()
    armed("retention.intended:3=raise")
    sweep(task)
    finish_removals(model.pk)

    sweep(task)

    is_done(task, model)


def test_the_beat_leaves_young_intents_to_who_committed_them(model, old, armed):
    task = policies.open_task("test", policy_of(model, delete_action="hard"))
    armed("retention.intended=raise")
    sweep(task)

    finish_removals()

    assert InferencePayload.objects.exclude(removal_at=None).exists()


def test_an_input_is_hidden_once_its_removal_is_committed(model, old, armed, api):
    policies.open_task("test", policy_of(model, maximum_record_age=-1))
    armed("retention.intended=raise")
    sweep(RetentionTask.objects.get())
    path = "/api/v1/models/yolo-harbour/inferences/old 4"

    answer = api.get(f"{path}?presign=true").json()

    assert answer["data_storage_key"] is answer["presigned_url"] is None
    assert api.get(f"{path}/input").status_code == 404


def test_intents_of_a_task_that_is_given_up_are_carried_out_by_the_beat(
    model, old, armed
):
    policies.open_task("test", policy_of(model, maximum_blob_age=0))
    task = RetentionTask.objects.get()
    armed("removal.inputs_deleted=raise")
    while task.state != TaskState.FAILED:
        sweep(task)
    payloads = InferencePayload.objects.exclude(input_removal_at=None)
    payloads.update(input_removal_at=hours_ago(1))
    armed("")

    finish_removals()

    assert not InferencePayload.objects.exclude(input_removal_at=None).exists()
    expired = InferencePayload.objects.exclude(input_expired_at=None)
    assert not expired.exclude(data_storage_key="").exists()


def test_a_worker_that_lost_its_lease_writes_nothing_more(model, old, monkeypatch):
    task = policies.open_task("test", policy_of(model, delete_action="hard"))
    finish_going = sweeping.Sweep._finish_going

    def overtaken(run, but):
        monkeypatch.setattr(sweeping.Sweep, "_finish_going", finish_going)
        lease_runs_out()
        other = RetentionTask.objects.get()
        assert sweep(other)
        assert other.state == TaskState.COMPLETE
        return finish_going(run, 0)

    monkeypatch.setattr(sweeping.Sweep, "_finish_going", overtaken)
    assert sweep(task)

    is_done(task, model)


def test_a_task_that_is_held_is_not_claimed_again(model, old):
    task = policies.open_task("test", policy_of(model))
    assert task.claim()

    assert not sweep(RetentionTask.objects.get())
    run_retention_task(str(task.pk))
    run_retention_task("7b6ce2c4-4a62-4f9e-9c43-7b6a4f1f3b7e")  # rolled back meanwhile

    task.refresh_from_db()
    assert task.attempt == 1


def test_a_task_without_progress_is_given_up(model, old):
    task = policies.open_task("test", policy_of(model))
    for _ in range(3):
        assert task.claim()
        lease_runs_out()

    assert not task.claim()

    assert task.state == TaskState.FAILED
    assert task.finished_at


def test_protect_wins_before_the_intent_and_is_told_after_it(
    model, old, api, monkeypatch, armed
):
    task = policies.open_task("test", policy_of(model, delete_action="hard"))
    clear = removal.RECORDS.clear

    def protected_meanwhile(of, batch):
        monkeypatch.setattr(removal.RECORDS, "clear", clear)
        path = "/api/v1/models/yolo-harbour/inferences"
        late = api.put(f"{path}/old 4/protection", {})  # the oldest: in this batch
        assert (late.status_code, late.json()["code"]) == (409, "being-removed")
        assert protect_one("test", model, "old 0", Protection())
        assert protect_one("test", model, "aged 1", Protection())
        return clear(of, batch)

    monkeypatch.setattr(removal.RECORDS, "clear", protected_meanwhile)
    sweep(task)

    assert task.state == TaskState.COMPLETE
    assert {"old 0", "aged 1"} <= live_ids(model)
    assert with_input(model) == {"old 0", "aged 1", "protected", "young"}
    assert (task.deleted_record_count, task.deleted_blob_count) == (4, 6)


def test_a_due_policy_makes_one_task_and_waits_its_interval(model, old):
    policy = policy_of(model, automated_interval=2)
    at = clock.now()

    assert len(policies.start_due(at)) == 1
    assert policies.start_due(at) == []
    task = RetentionTask.objects.get()
    assert (task.requested_by, task.by_schedule) == ("the schedule", True)
    sweep(task)
    assert policies.start_due(at + timedelta(hours=1, minutes=59)) == []
    policy.refresh_from_db()
    assert policy.last_scheduled_at == at
    assert len(policies.start_due(at + timedelta(hours=2))) == 1


def test_a_policy_whose_last_run_lies_in_the_future_is_due(model, old):
    policy = policy_of(model, automated_interval=2)
    at = clock.now()
    policy.last_scheduled_at = at + timedelta(days=400)
    policy.save()

    [task] = policies.start_due(at)

    policy.refresh_from_db()
    assert policy.last_scheduled_at == at
    assert task.maximum_record_age_limit <= at


def test_a_policy_without_an_interval_is_never_due(model):
    policy_of(model)

    assert policies.start_due(clock.now() + timedelta(days=1000)) == []


def test_missed_windows_run_once(model, old):
    policy = policy_of(model, automated_interval=1)
    at = clock.now()
    RetentionPolicy.objects.update(last_scheduled_at=at - timedelta(days=30))

    [task] = policies.start_due(at)
    sweep(task)

    assert policies.start_due(at + timedelta(minutes=1)) == []
    policy.refresh_from_db()
    assert policy.last_scheduled_at == at


def test_while_a_task_is_active_the_schedule_waits(model, old):
    policy = policy_of(model, automated_interval=1)
    by_hand = policies.open_task("test", policy, dry_run=True)
    at = clock.now()

    assert policies.start_due(at) == []
    policy.refresh_from_db()
    assert policy.last_scheduled_at is None
    sweep(by_hand)
    assert len(policies.start_due(at)) == 1


def test_a_schedule_that_another_beat_moved_is_left_alone(model, old):
    policy_of(model, automated_interval=1)
    seen = RetentionPolicy.objects.get()
    at = clock.now()
    assert policies._schedule(RetentionPolicy.objects.get(), at)

    assert not policies._schedule(seen, at + timedelta(seconds=1))


@pytest.mark.django_db(transaction=True)
def test_two_beats_make_one_task(model):
    for number in range(5):
        policy = policy_of(model, automated_interval=1)
        at = clock.now()

        def beat(_, at=at):
            try:
                return len(policies.start_due(at))
            finally:
                connection.close()

        with ThreadPoolExecutor(4) as beats:
            opened = list(beats.map(beat, range(4)))

        assert sorted(opened) == [0, 0, 0, 1], number
        assert policy.tasks.count() == 1
        policies.delete_policy("test", policy)


@pytest.mark.django_db(transaction=True)
def test_two_workers_share_no_task(model, old):
    task = policies.open_task("test", policy_of(model, delete_action="hard"))

    def worker(_):
        try:
            return sweep(RetentionTask.objects.get())
        finally:
            connection.close()

    with ThreadPoolExecutor(3) as workers:
        swept = list(workers.map(worker, range(3)))

    assert swept.count(True) == 1
    is_done(task, model)
