"""What a retention task removes, and what it leaves."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext

from inferences.maintenance import disk_space
from inferences.models import InferenceKey, InferencePayload, RegisteredModel
from inferences.models.row_ids import EARLIEST, LOWEST
from inferences.previews import pictures
from inferences.store import pack_rewriting, removal
from inferences.tasks import finish_removals
from inferences.tests.builders import size_of
from inferences.tests.test_damaged_packs import MOMENT, store_of, with_intents
from inferences.tests.test_pack_rewriting import Store
from istore import blobs
from istore.db import clock
from istore.tasks import control
from istore.tasks.tracking import TaskState
from retention import policies, sweeping
from retention.models import RetentionPolicy, RetentionTask
from retention.sweeping import sweep
from retention.tests.builders import (
    carried_out,
    hours_ago,
    live_ids,
    policy_of,
    stored,
    stored_keys,
    with_input,
)


@pytest.fixture
def aged(make_inference):
    """``aged("a", 50)``: an inference of 50 hours ago, with an input of 7 bytes."""

    def make(name: str, hours: float, **fields):
        given = {"data_storage_key": stored(), "data_size": 7}
        return make_inference(
            inference_id=name, created_at=hours_ago(hours), **given | fields
        )

    return make


def test_soft_hides_old_records_and_removes_old_inputs(model, aged):
    for hours in (10, 50, 80):
        aged(f"{hours}", hours)

    task = carried_out(policy_of(model))

    assert task.state == TaskState.COMPLETE
    assert (task.total_record_count, task.deleted_record_count) == (1, 1)
    assert (task.total_blob_count, task.deleted_blob_count) == (2, 2)
    assert (task.total_bytes, task.deleted_bytes) == (14, 14)
    assert live_ids(model) == {"10", "50"}
    assert with_input(model) == {"10"}
    assert len(stored_keys()) == 1
    hidden = model.inferences.get(inference_id="80")
    payload = InferencePayload.objects.get(id=hidden.id)
    assert payload.deleted_at and payload.input_expired_at


@pytest.mark.parametrize("action", ["soft", "hard"])
def test_blobs_that_are_left_are_told_and_stop_nothing_else(
    model, aged, monkeypatch, settings, action
):
    settings.ISTORE_REMOVAL_BATCH = 2
    for number in range(6):
        aged(f"{number}", 100 + number)
    payloads = InferencePayload.objects.beside(model)
    stuck = payloads.order_by("-id").values_list("data_storage_key", flat=True)[3]
    delete = blobs.delete

    def refuse(keys):
        keys = list(keys)
        delete(key for key in keys if key != stuck)
        if stuck in keys:
            raise blobs.BlobsLeft({stuck: "refused"})

    monkeypatch.setattr(blobs, "delete", refuse)
    task = carried_out(policy_of(model, delete_action=action))

    assert task.state == TaskState.FAILED
    assert task.reason.startswith("1 blobs could not be removed")
    assert stored_keys() == {stuck}
    assert payloads.get(data_storage_key=stuck)
    assert len(with_input(model)) == 1
    monkeypatch.undo()
    finish_removals(model.pk)
    assert stored_keys() == with_input(model) == set()


def test_hard_removes_rows_and_all_their_blobs(model, aged):
    key = stored(b"{}", "answer")
    blobs.put(key.replace("answer", "metadata"), b"{}")
    aged("old", 80, answer_storage_key=key)
    aged("new", 10)

    task = carried_out(policy_of(model, delete_action="hard"))

    assert (task.deleted_record_count, task.deleted_blob_count) == (1, 1)
    assert live_ids(model) == {"new"}
    payloads = InferencePayload.objects.beside(model)
    assert model.inferences.count() == payloads.count() == 1
    assert len(stored_keys()) == 1
    assert InferenceKey.objects.get(inference_id="old").removed_at


@pytest.mark.parametrize("action", ["soft", "hard"])
def test_what_is_protected_stays_with_its_input(model, aged, action):
    aged("kept", 1000, is_protected=True)
    aged("gone", 1000)

    task = carried_out(policy_of(model, delete_action=action))

    assert live_ids(model) == with_input(model) == {"kept"}
    assert (task.protected_record_count, task.protected_blob_count) == (1, 1)
    assert (
        blobs.get(
            InferencePayload.objects.exclude(data_storage_key="").get().data_storage_key
        )
        == b"picture"
    )


def test_records_may_stay_for_good_while_their_inputs_go(model, aged):
    aged("old", 100_000)

    task = carried_out(policy_of(model, maximum_record_age=-1, delete_action="hard"))

    assert live_ids(model) == {"old"}
    assert with_input(model) == set()
    assert task.maximum_record_age_limit == EARLIEST


def test_an_age_of_nothing_takes_all_that_is_there(model, aged):
    aged("now", 0.001)

    task = carried_out(policy_of(model, maximum_record_age=0, maximum_blob_age=0))

    assert (task.deleted_record_count, task.deleted_blob_count) == (1, 1)
    assert live_ids(model) == with_input(model) == set()


def test_the_limit_is_a_moment_and_what_happened_in_it_stays(
    model, aged, make_inference
):
    policy = policy_of(model, maximum_record_age=2, maximum_blob_age=2)
    task = policies.open_task("test", policy)
    limit = task.maximum_record_age_limit
    for name, apart in (("before", -1), ("at", 0), ("after", 1)):
        moment = limit + timedelta(microseconds=apart)
        make_inference(inference_id=name, created_at=moment)

    sweep(task)

    assert live_ids(model) == {"at", "after"}


def test_hours_are_hours_when_clocks_change():
    policy = RetentionPolicy(maximum_record_age=48, maximum_blob_age=24)
    after_the_change = datetime(2026, 3, 29, 12, tzinfo=UTC)

    limits = policy.limits(after_the_change)

    assert limits.records == datetime(2026, 3, 27, 12, tzinfo=UTC)
    assert limits.inputs == datetime(2026, 3, 28, 12, tzinfo=UTC)


def test_ages_beyond_the_calendar_keep_everything():
    policy = RetentionPolicy(maximum_record_age=2**31 - 1, maximum_blob_age=2**31 - 1)

    limits = policy.limits(datetime(2026, 1, 1, tzinfo=UTC))

    assert limits.records == limits.inputs == EARLIEST


def test_a_dry_run_counts_and_writes_nothing_but_its_row(model, aged):
    for hours in (10, 50, 80, 90):
        aged(f"{hours}", hours)
    aged("protected", 90, is_protected=True)
    policy = policy_of(model)
    task = policies.open_task("test", policy, dry_run=True)
    payloads = list(InferencePayload.objects.values())

    with CaptureQueriesContext(connection) as queries:
        sweep(task)

    assert task.state == TaskState.COMPLETE
    assert (task.total_record_count, task.total_blob_count) == (2, 3)
    assert task.total_bytes == 21
    assert task.deleted_record_count == task.deleted_blob_count == 0
    assert list(InferencePayload.objects.values()) == payloads
    assert len(stored_keys()) == 5
    policy.refresh_from_db()
    assert policy.last_scheduled_at is None
    written = [q["sql"] for q in queries if q["sql"].startswith(("UPDATE", "INSERT"))]
    assert written and all('"retention_retentiontask"' in sql for sql in written)
    assert any("READ ONLY" in query["sql"] for query in queries)


def test_it_goes_batch_by_batch_and_counts_as_it_goes(
    model, aged, settings, monkeypatch
):
    settings.ISTORE_REMOVAL_BATCH = 2
    for number in range(5):
        aged(f"{number}", 100 + number)
    seen = []
    clear = removal.RECORDS.clear

    def watched(of, batch):
        seen.append(RetentionTask.objects.get().deleted_record_count)
        return clear(of, batch)

    monkeypatch.setattr(removal.RECORDS, "clear", watched)
    task = carried_out(policy_of(model, delete_action="hard"))

    assert seen == [0, 2, 4]
    assert task.deleted_record_count == 5


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        ("hard", removal.RECORDS),
        ("soft", removal.INPUTS),
    ],
    ids=["hard", "soft"],
)
def test_what_is_left_of_a_batch_waits_for_its_objects(
    model, aged, settings, monkeypatch, action, kind
):
    settings.ISTORE_REMOVAL_BATCH = 2
    for number in range(7):
        aged(f"{number}", 100 + number)
    clear, delete, steps = kind.clear, blobs.delete, []

    def slowly(keys):
        time.sleep(0.05)
        delete(keys)
        steps.append("deleted")

    def watched(of, batch):
        steps.append("cleared")
        assert len(batch.keys) == len(batch.ids)
        assert not any(blobs.exists(key) for key in batch.keys)
        return clear(of, batch)

    monkeypatch.setattr(blobs, "delete", slowly)
    monkeypatch.setattr(kind, "clear", watched)
    task = carried_out(policy_of(model, delete_action=action))

    assert (task.state, task.deleted_blob_count) == (TaskState.COMPLETE, 7)
    assert steps.count("deleted") == steps.count("cleared") == 4
    # Objects of a batch went while the one before was still on its way out.
    assert steps.index("cleared") == 1


def test_a_second_run_finds_nothing(model, aged):
    aged("old", 100)
    policy = policy_of(model)
    carried_out(policy)

    task = carried_out(policy)

    assert (task.total_record_count, task.total_blob_count) == (0, 0)
    assert (task.deleted_record_count, task.deleted_blob_count) == (0, 0)


def test_another_models_inferences_stay(model, aged, project):
    other = RegisteredModel.objects.create(model_id="other", project=project)
    aged("theirs", 100, to=other)
    aged("ours", 100)

    carried_out(policy_of(model, delete_action="hard"))

    assert live_ids(other) == with_input(other) == {"theirs"}


def test_a_policy_that_keeps_more_counts_at_once(model, aged, settings, monkeypatch):
    settings.ISTORE_REMOVAL_BATCH = 1
    for hours in (100, 90, 80):
        aged(f"{hours}", hours)
    policy = policy_of(model, delete_action="hard")
    intend = removal.RECORDS.intend

    def changed_meanwhile(of, rows):
        policies.change_policy("test", policy, maximum_record_age=95)
        return intend(of, rows)

    monkeypatch.setattr(removal.RECORDS, "intend", changed_meanwhile)
    task = carried_out(policy)

    assert task.state == TaskState.COMPLETE
    assert live_ids(model) == {"90", "80"}


def test_a_policy_that_keeps_less_waits_for_its_next_task(model, aged, monkeypatch):
    aged("80", 80)
    aged("60", 60)
    policy = policy_of(model, maximum_blob_age=20)
    task = policies.open_task("test", policy)
    policies.change_policy("test", policy, maximum_record_age=50)

    sweep(task)

    assert live_ids(model) == {"60"}
    carried_out(policy)
    assert live_ids(model) == set()


def test_hard_that_became_soft_hides(model, aged):
    aged("80", 80)
    policy = policy_of(model, delete_action="hard")
    task = policies.open_task("test", policy)
    policies.change_policy("test", policy, delete_action="soft")

    sweep(task)

    assert live_ids(model) == set()
    assert model.inferences.count() == 1


def test_without_its_policy_a_task_ends_stopped(model, aged):
    aged("80", 80)
    policy = policy_of(model)
    task = policies.open_task("test", policy)
    policies.delete_policy("test", policy)

    sweep(task)

    assert task.state == TaskState.STOPPED
    assert task.reason == "The policy was deleted."
    assert live_ids(model) == {"80"}


def test_a_stopped_task_goes_on_where_it_was(model, aged, settings, monkeypatch):
    settings.ISTORE_REMOVAL_BATCH = 2
    for number in range(5):
        aged(f"{number}", 100 + number)
    task = policies.open_task("test", policy_of(model, delete_action="hard"))
    clear = removal.RECORDS.clear

    def stopped_meanwhile(of, batch):
        control.stop("test", RetentionTask.objects.get(pk=task.pk))
        return clear(of, batch)

    with monkeypatch.context() as patch:
        patch.setattr(removal.RECORDS, "clear", stopped_meanwhile)
        sweep(task)
    # With the batch whose intents were committed by then, and none after it.
    assert (task.state, task.deleted_record_count) == (TaskState.STOPPED, 4)
    assert model.inferences.count() == 1
    assert task.open_batch is None

    assert policies.resume_task("test", task)
    sweep(task)

    assert (task.state, task.deleted_record_count) == (TaskState.COMPLETE, 5)
    assert (task.deleted_blob_count, task.deleted_bytes) == (5, 35)
    assert not policies.resume_task("test", task)
    assert not control.stop("test", task)


def test_a_task_that_nobody_holds_stops_at_once(model, aged):
    task = policies.open_task("test", policy_of(model))

    assert control.stop("test", task)

    assert task.state == TaskState.STOPPED
    assert not sweep(task)


def test_a_worker_whose_clock_is_wrong_removes_nothing(model, aged, settings):
    aged("old", 1000)
    task = policies.open_task("test", policy_of(model))

    with time_machine.travel(datetime.now(UTC) + timedelta(seconds=400)):
        sweep(task)

    assert task.state == TaskState.FAILED
    assert task.reason.startswith("clock-skew")
    assert live_ids(model) == {"old"}


def test_previews_go_with_their_input(model, aged):
    made = aged("old", 60)
    key = InferencePayload.objects.get(id=made.id).data_storage_key
    pictures._keep(key, pictures.MEASURE, b'{"error": "kept"}')

    carried_out(policy_of(model))

    assert pictures._read(key, pictures.MEASURE) is None


def test_a_run_of_the_schedule_begins_where_the_last_one_ended(model, aged):
    aged("old", 60)
    policy = policy_of(model, automated_interval=1)
    first = carried_out(policy)
    model.refresh_from_db()
    assert model.blob_gone_before > LOWEST
    aged("late", 59)  # a backfill lowers the bound

    [task] = policies.start_due(clock.now() + timedelta(hours=2))
    sweep(task)

    assert first.is_whole and not task.is_whole
    assert task.deleted_blob_count == 1
    assert with_input(model) == set()


def test_pages_begin_behind_what_was_removed(model, aged, api):
    aged("old", 1000)
    aged("new", 1)
    carried_out(policy_of(model, delete_action="hard"))

    model.refresh_from_db()
    assert model.first_id == model.inferences.get().id
    page = api.get(f"/api/v1/models/{model}/inferences").json()
    assert [each["inference_id"] for each in page["results"]] == ["new"]


def test_a_run_that_breaks_off_is_tried_again_and_fails_in_the_end(
    model, aged, monkeypatch
):
    aged("old", 1000)
    task = policies.open_task("test", policy_of(model, delete_action="hard"))
    delete = blobs.delete

    def refused(keys):
        raise OSError("The object store does not answer.")

    monkeypatch.setattr(blobs, "delete", refused)
    for _ in range(2):
        sweep(task)
        assert task.state == TaskState.RUNNING
        assert live_ids(model) == set()  # the intent is committed: it is hidden
    sweep(task)
    assert (task.state, task.reason) == (TaskState.FAILED, "Broke off: OSError.")

    monkeypatch.setattr(blobs, "delete", delete)
    assert policies.resume_task("test", task)
    sweep(task)

    assert (task.state, task.deleted_record_count) == (TaskState.COMPLETE, 1)
    assert not model.inferences.exists()


def test_rows_that_stay_locked_end_the_attempt_and_not_the_task(
    model, aged, monkeypatch
):
    aged("old", 1000)
    monkeypatch.setattr(sweeping, "LOCKED_PATIENCE", 0)
    monkeypatch.setattr(removal, "_lock", lambda rows, skip_locked: [])

    task = carried_out(policy_of(model))

    assert task.state == TaskState.RUNNING
    assert task.reason == f"Rows of {model} stay locked."
    assert live_ids(model) == {"old"}


def test_packs_that_are_done_are_counted_while_others_wait(
    s3_prefix, model, make_inference, monkeypatch
):
    monkeypatch.setattr(pack_rewriting, "PATIENCE", 0.0)
    monkeypatch.setattr(pack_rewriting, "PAUSE", 0.0)

    def make_later(inference_id, **fields):
        make_inference(inference_id=f"later {inference_id}", **fields)

    made = store_of(make_inference, model)
    hour = blobs.prefix_for(model.project_id, model.pk, MOMENT + timedelta(hours=1), "")
    Store(make_later, model, hour.rstrip("/"), 3, ["i0", "i1", "i2"])
    with_intents(model, model.inferences.filter(inference_id="i2"))

    task = carried_out(policy_of(model, delete_action="hard"))

    assert task.state == TaskState.RUNNING
    assert task.reason.startswith(f"2 packs wait. {made.inputs.key}, ")
    assert (task.deleted_pack_count, task.given_back_bytes > 0) == (2, True)

    removal.RECORDS.finish(model)
    sweep(task)
    assert (task.state, task.deleted_pack_count) == (TaskState.COMPLETE, 4)


@pytest.mark.django_db(transaction=True)
def test_a_run_that_removed_much_gives_the_disk_space_back(
    model, make_inference, settings, monkeypatch
):
    monkeypatch.setattr(sweeping, "WORTH_VACUUM", 200)
    # On the first day of a month the past has not ended for long enough.
    monkeypatch.setattr(disk_space, "SETTLED", timedelta())
    settings.ISTORE_EMPTY_PARTITION_BYTES = 0
    for n in range(200):
        text = {"n": n, "text": "x" * 400}
        make_inference(text, created_at=hours_ago(24 * 100))
    full = size_of(None)

    carried_out(policy_of(model, delete_action="hard"))

    assert size_of(None) < 0.6 * full
