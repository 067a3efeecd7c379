"""Whatever is done in whatever order: what must stay stays, what must go goes, once.

A plain Python model says of each inference whether it is live, hidden, doomed (an intent is
committed) or gone, and whether its input is there. Rules act on the store: retention with
and without crashes, protection, changes of the policy, deletion, the beat. After each step
the store may differ from the model only where the step allows it; in the end everything is
carried out, and ``verify`` finds nothing.
"""

from __future__ import annotations

import io
import json
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count

import hypothesis.strategies as st
import pytest
from django.test import TestCase
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from exports.archive_writer import carry_out
from exports.cleanup import collect, remove_archive
from exports.models import ExportTask
from exports.selections import Selection
from exports.task_lifecycle import Wanted
from exports.task_lifecycle import open_task as open_export
from inferences.erasure.matching_records import Carried
from inferences.erasure.running import erase, open_erasure
from inferences.models import InferenceKey, InferencePayload, RegisteredModel, TaskType
from inferences.models.erasure import ErasureTask
from inferences.store import removal, soft_deletion
from inferences.store.protection import Protection, protect_all, protect_one
from inferences.store.recording import record
from inferences.tests.builders import new, typed
from istore import blobs, failpoints
from istore.checks.verification import Scope, report
from istore.db import clock
from istore.errors import Conflict
from istore.models import Project
from istore.tasks import control
from istore.tasks.tracking import TaskState
from retention import policies
from retention.models import Limits, RetentionPolicy, RetentionTask
from retention.sweeping import sweep
from retention.tests.builders import STEPS, stored, stored_keys

LIVE, HIDDEN, DOOMED, GONE = "live", "hidden", "doomed", "gone"
NOT_LIVE = {HIDDEN, DOOMED, GONE}
AGES = [200, 75, 70, 50, 47, 30, 20, 0.5]  # hours, none of them at an edge of a policy
RECORD_AGES, BLOB_AGES = [48, 72, 25, 0, -1], [24, 48, 0]
SPLITS = ["train", "test"]
ERASURE_STEPS = [
    "erasure.intended",
    "erasure.made_removed",
    "removal.record_blobs_deleted",
    "removal.records_removed",
    "erasure.batch_removed",
    "erasure.traces_removed",
]
EXPORT_STEPS = [
    "archiving.claimed",
    "archiving.set_fixed",
    "archiving.batch_written",
    "archiving.manifest_written",
    "archiving.closing",
    "archiving.stored",
    "archiving.completed",
]
ENDED = (TaskState.COMPLETE, TaskState.FAILED, TaskState.STOPPED)
EXAMPLES, STEPS_EACH = 15, 20

numbers = count(1)


@dataclass
class Seen:
    """One inference as it is in the store, or as it should be."""

    state: str
    has_input: bool
    is_protected: bool


@dataclass
class Made:
    created_at: datetime
    split: str


class Retention(RuleBasedStateMachine):
    directory = None

    @initialize(
        ages=st.lists(st.sampled_from(AGES), min_size=4, max_size=8),
        record_age=st.sampled_from(RECORD_AGES),
        blob_age=st.sampled_from(BLOB_AGES),
        action=st.sampled_from(["soft", "hard"]),
    )
    def begin(self, ages, record_age, blob_age, action) -> None:
        failpoints.arm("")
        number = next(numbers)
        self.project = Project.objects.create(project_id=f"p{number}")
        self.model = RegisteredModel.objects.create(
            model_id=f"m{number}",
            project=self.project,
            task_type=TaskType.OBJECT_DETECTION,
        )
        self.made: dict[str, Made] = {}
        self.expected: dict[str, Seen] = {}
        self.policy: RetentionPolicy | None = None
        self.task: RetentionTask | None = None
        self.lost = [0, 0]  # records and inputs that the present task took
        self.export: ExportTask | None = None
        # What the present export fixed, once it did.
        self.chosen: set[str] | None = None
        for place, hours in enumerate(ages):
            self.create(hours, place % 4 == 3, place % 5 != 4, SPLITS[place % 2])
        self.set_policy(record_age, blob_age, action)

    # -- the store as it is

    def seen(self) -> dict[str, Seen]:
        keys = InferenceKey.objects.filter(registered_model=self.model)
        ids = dict(keys.values_list("inference_id", "row_id"))
        rows = self.model.inferences.in_bulk(list(ids.values()))
        beside = InferencePayload.objects.beside(self.model)
        payloads = beside.in_bulk(list(ids.values()))
        return {
            name: _seen(rows.get(row_id), payloads.get(row_id))
            for name, row_id in ids.items()
        }

    def after(self, allowed: dict[str, set[tuple[str, bool]]]) -> None:
        """Take what changed into the model; it must have been allowed to."""
        for name, now in self.seen().items():
            before = self.expected[name]
            state = (now.state, now.has_input)
            if state != (before.state, before.has_input):
                assert state in allowed.get(name, set()), (name, before, now)
            assert now.is_protected == before.is_protected or now.state == GONE
            before.state, before.has_input = state

    # -- what people do

    @rule(ages=st.lists(st.sampled_from(AGES), min_size=1, max_size=4), data=st.data())
    def arrive(self, ages, data) -> None:
        for hours in ages:
            self.create(
                hours,
                is_protected=data.draw(st.sampled_from([False, False, True])),
                has_input=data.draw(st.sampled_from([True, True, False])),
                split=data.draw(st.sampled_from(SPLITS)),
            )

    def create(self, hours, is_protected, has_input, split) -> None:
        name = f"i{len(self.made)}"
        created_at = clock.now() - timedelta(hours=hours)
        answer = stored(b"{}", "answer")
        blobs.put(answer.replace("answer", "metadata"), b"{}")
        record(
            self.model,
            [
                new(
                    name,
                    created_at=created_at,
                    is_protected=is_protected,
                    data_storage_key=stored() if has_input else "",
                    data_size=7 if has_input else 0,
                    answer_storage_key=answer,
                    metadata=[typed("split", split)],
                    detections=[("ship", 0.5)],
                )
            ],
        )
        self.made[name] = Made(created_at, split)
        self.expected[name] = Seen(LIVE, has_input, is_protected)

    @rule(data=st.data(), is_protected=st.booleans())
    def protect(self, data, is_protected) -> None:
        if not self.made:
            return
        name = data.draw(st.sampled_from(sorted(self.made)))
        before = self.expected[name]
        try:
            done = protect_one("test", self.model, name, Protection(is_protected))
        except Conflict:
            # Told, not promised: the record or its input is on its way out.
            assert is_protected
            return
        assert (done is not None) == (before.state == LIVE)
        if done:
            before.is_protected = is_protected

    @rule(
        record_age=st.sampled_from(RECORD_AGES),
        blob_age=st.sampled_from(BLOB_AGES),
        action=st.sampled_from(["soft", "hard"]),
    )
    def set_policy(self, record_age, blob_age, action) -> None:
        terms = {
            "maximum_record_age": record_age,
            "maximum_blob_age": blob_age
            if record_age < 0
            else min(blob_age, record_age),
            "delete_action": action,
        }
        if self.policy:
            self.policy = policies.change_policy("test", self.policy, **terms)
        else:
            self.policy = policies.create_policy("test", self.model, **terms)

    @precondition(lambda self: self.policy)
    @rule()
    def delete_policy(self) -> None:
        assert policies.delete_policy("test", self.policy)
        self.policy = None

    @rule(split=st.sampled_from(SPLITS), is_finished=st.booleans())
    def bulk_delete(self, split, is_finished) -> None:
        chosen = {
            name
            for name, made in self.made.items()
            if made.split == split and self.expected[name].state == LIVE
        }
        live = self.model.inferences.live
        deleted = removal.intend_all(
            "test", self.model, lambda: live().filter(string_1=split)
        )
        assert {name for batch in deleted for name in batch} == chosen
        if is_finished:
            removal.RECORDS.finish(self.model)
        ends = {(DOOMED, False), (GONE, False)}
        doomed = {name for name, row in self.expected.items() if row.state == DOOMED}
        self.after(dict.fromkeys(chosen | doomed, ends))
        for name in chosen:
            assert self.expected[name].state in (DOOMED, GONE)

    @rule(split=st.sampled_from(SPLITS), is_protected=st.booleans())
    def bulk_protect(self, split, is_protected) -> None:
        waiting = {
            name
            for name, made in self.made.items()
            if made.split == split
            and self.expected[name].state == LIVE
            and self.expected[name].is_protected != is_protected
        }
        live = self.model.inferences.live
        done = protect_all(
            "test",
            self.model,
            lambda: live().filter(string_1=split),
            Protection(is_protected),
        )
        seen = self.seen()
        changed = {name for name in waiting if seen[name].is_protected == is_protected}
        assert len(changed) == done.count
        # Inputs that are on their way out are told, and nothing is promised for them.
        assert len(waiting - changed) == done.being_removed
        for name in changed:
            self.expected[name].is_protected = is_protected
        self.after({})

    @rule(split=st.sampled_from(SPLITS), crashes=st.booleans())
    def restore(self, split, crashes) -> None:
        chosen = self.hidden(split)
        failpoints.arm("restoring.restored:2=raise" if crashes else "")
        try:
            soft_deletion.restore("test", self.model, self.soft_deleted(split))
            assert len(chosen) < 3 or not crashes
            crashes = False
        except failpoints.Failure:
            pass
        failpoints.arm("")
        self.after({name: {(LIVE, self.expected[name].has_input)} for name in chosen})
        if not crashes:
            assert all(self.expected[name].state == LIVE for name in chosen)

    @rule(split=st.sampled_from(SPLITS))
    def remove_deleted(self, split) -> None:
        chosen = self.hidden(split)
        done = soft_deletion.intend_removal(
            "test", self.model, self.soft_deleted(split)
        )
        assert done.count == len(chosen)
        self.after({name: {(DOOMED, False)} for name in chosen})

    def hidden(self, split) -> set[str]:
        return {
            name
            for name, made in self.made.items()
            if made.split == split and self.expected[name].state == HIDDEN
        }

    def soft_deleted(self, split):
        return lambda: soft_deletion.soft_deleted(self.model).filter(string_1=split)

    @rule(
        split=st.sampled_from(SPLITS),
        step=st.sampled_from(ERASURE_STEPS),
        passage=st.integers(1, 3),
    )
    def erase(self, split, step, passage) -> None:
        """Protected or hidden makes no difference; nor does a worker that dies."""
        chosen = {
            name
            for name, made in self.made.items()
            if made.split == split and self.expected[name].state != GONE
        }
        task = open_erasure(
            "test",
            self.project,
            Carried("split", "string", split),
            why="",
            dry_run=False,
        )
        failpoints.arm(f"{step}:{passage}=raise")
        erase(task)
        failpoints.arm("")
        ErasureTask.objects.filter(pk=task.pk).update(
            lease_until=clock.now() - timedelta(seconds=1)
        )
        erase(ErasureTask.objects.get(pk=task.pk))
        task.refresh_from_db()
        assert (task.state, task.value) == (TaskState.COMPLETE, "")
        assert task.erased_count == task.erased.count() == len(chosen)
        assert task.report["left"]["records"] == task.report["proof"]["left"] == 0
        self.after({name: {(GONE, False)} for name in chosen})
        assert all(self.expected[name].state == GONE for name in chosen)
        for export in self.archived():
            assert not any(chosen & set(p.inference_ids) for p in export.parts.all())

    @rule()
    def beat(self) -> None:
        """The rounds that carry out intents whose worker died, and collect archives."""
        collect(clock.now())
        removal.RECORDS.finish(self.model)
        removal.INPUTS.finish(self.model)
        self.after(
            {name: {(GONE, False)} for name in self.expected if self.is_doomed(name)}
        )
        assert not any(map(self.is_doomed, self.expected))

    def is_doomed(self, name: str) -> bool:
        return self.expected[name].state == DOOMED

    # -- exports

    @rule(step=st.none() | st.sampled_from(EXPORT_STEPS))
    def read(self, step) -> None:
        """An export, or the next attempt at one; without a step it comes to its end."""
        if self.export is None:
            self.export = open_export(
                "test", self.model, Wanted(Selection(), {}, "ndjson")
            )
            self.chosen = None
        failpoints.arm(f"{step}=raise" if step else "")
        with suppress(failpoints.Failure):
            carry_out(self.export)
        failpoints.arm("")
        self.after({})
        self.export.refresh_from_db()
        if self.chosen is None and self.export.fixed_at:
            self.chosen = {n for n, row in self.expected.items() if row.state == LIVE}
        if self.export.state == TaskState.COMPLETE:
            self.check_archive()
            self.export = None
        else:
            assert step
            ExportTask.objects.filter(pk=self.export.pk).update(
                lease_until=clock.now() - timedelta(seconds=1)
            )
            self.export.refresh_from_db()

    def archived(self):
        return ExportTask.objects.filter(model=self.model).exclude(archive_key="")

    def check_archive(self) -> None:
        """It has what lives of the fixed set, with every input that is there."""
        content = blobs.get(self.export.archive_key)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            manifest = json.loads(archive.read("manifest.json"))
            lines = map(json.loads, archive.read("inferences.ndjson").splitlines())
            inputs = {
                line["inference_id"]: line["input"]
                and archive.read(line["input"]["path"])
                for line in lines
            }
        live = {n for n in self.chosen if self.expected[n].state == LIVE}
        assert set(inputs) == live
        skipped = {
            (each["inference_id"], each["reason"]) for each in manifest["skipped"]
        }
        assert skipped == {(name, "deleted") for name in self.chosen - live}
        assert manifest["expected_count"] == len(self.chosen)
        for name, found in inputs.items():
            if self.expected[name].has_input:
                assert found == b"picture"
            else:  # an input that is on its way out may be met or not
                assert found in (None, b"picture")

    # -- retention

    def dry_run(self) -> None:
        task = policies.open_task("test", self.policy, dry_run=True)
        records, inputs = self.stale(task.fixed_limits)
        sweep(task)
        assert task.state == TaskState.COMPLETE
        assert (task.total_record_count, task.total_blob_count) == (
            len(records),
            len(inputs),
        )
        assert task.done == 0
        self.after({})

    def has_task(self) -> bool:
        """An active task: the one that is on, or another where there is a policy."""
        if not self.is_active and self.policy:
            self.dry_run()
            self.task = policies.open_task("test", self.policy)
            self.lost = [0, 0]
        return self.is_active

    @precondition(lambda self: self.policy and not self.is_active)
    @rule()
    def begin_and_die_before_the_message(self) -> None:
        """A task is on although nobody was told of it: the beat will tell."""
        failpoints.arm("tracking.committed=raise")
        committed = TestCase.captureOnCommitCallbacks(execute=True)
        with pytest.raises(failpoints.Failure), committed:
            policies.open_task("test", self.policy)
        failpoints.arm("")
        self.task = self.policy.tasks.active().get()
        self.lost = [0, 0]
        assert self.task in RetentionTask.objects.not_notified()
        self.after({})

    @property
    def is_active(self) -> bool:
        return bool(self.task) and self.task.state not in ENDED

    @rule(step=st.sampled_from(STEPS), passage=st.integers(1, 3))
    def sweep_and_crash(self, step, passage) -> None:
        if not self.has_task():
            return
        failpoints.arm(f"{step}:{passage}=raise")
        try:
            self.sweep()
        except failpoints.Failure:
            RetentionTask.objects.filter(pk=self.task.pk).update(
                lease_until=clock.now() - timedelta(seconds=1)
            )
            self.task.refresh_from_db()
            self.after(self.allowed)
        finally:
            failpoints.arm("")

    @rule()
    def sweep(self) -> None:
        if not self.has_task():
            return
        limits = self.task.fixed_limits
        if self.policy and self.policy.pk == self.task.policy_id:
            limits = limits.or_earlier(self.policy.limits(clock.now()))
            records, inputs = self.stale(limits)
        else:
            records, inputs = set(), set()
        hard = {self.task.delete_action}
        hard.add(self.policy.delete_action if self.policy else "")
        self.allowed = self.ways(records, inputs, hard == {"hard"})
        live = {n for n, row in self.expected.items() if row.state == LIVE}
        kept = {n for n, row in self.expected.items() if row.has_input}
        sweep(self.task)
        self.after(self.allowed)
        gone = {n for n in live if self.expected[n].state != LIVE}
        self.lost[0] += len(gone)
        self.lost[1] += len({n for n in kept if not self.expected[n].has_input})
        if self.task.state == TaskState.COMPLETE:
            assert records <= gone
            assert not any(self.expected[name].has_input for name in inputs)
            assert self.task.deleted_record_count == self.lost[0]
            assert self.task.deleted_blob_count == self.lost[1]
            assert self.task.deleted_bytes == 7 * self.lost[1]

    @precondition(lambda self: self.task)
    @rule(resume=st.booleans())
    def stop(self, resume) -> None:
        control.stop("test", self.task)
        self.task.refresh_from_db()
        assert self.task.state in ENDED
        if resume and self.task.state == TaskState.STOPPED:
            policies.resume_task("test", self.task)

    def stale(self, limits: Limits) -> tuple[set[str], set[str]]:
        """The records and the inputs that go by these limits."""
        rows = [
            (name, self.made[name].created_at, row)
            for name, row in self.expected.items()
            if not row.is_protected and row.state in (LIVE, HIDDEN)
        ]
        records = {
            n for n, at, row in rows if row.state == LIVE and at < limits.records
        }
        inputs = {n for n, at, row in rows if row.has_input and at < limits.inputs}
        return records, inputs

    def ways(
        self, records: set[str], inputs: set[str], hard: bool
    ) -> dict[str, set[tuple[str, bool]]]:
        """How each inference may be found after a sweep, whole or broken off."""
        found = {}
        for name, row in self.expected.items():
            states = {row.state}
            if name in records:
                states |= {DOOMED, GONE} if hard else {HIDDEN}
            if row.state == DOOMED:
                states.add(GONE)
            keeps = {row.has_input} | ({False} if name in inputs else set())
            found[name] = {
                (state, has_input and state in (LIVE, HIDDEN))
                for state in states
                for has_input in keeps
            }
        return found

    # -- always, and in the end

    @invariant()
    def what_is_live_is_found(self) -> None:
        if not hasattr(self, "expected"):
            return
        live = set(self.model.inferences.live().values_list("inference_id", flat=True))
        assert live == {n for n, row in self.expected.items() if row.state == LIVE}

    def teardown(self) -> None:
        failpoints.arm("")
        if not hasattr(self, "model"):
            return
        while self.is_active:
            self.sweep()
        while self.export:
            self.read(None)
        self.beat()
        self.after({})
        for export in self.archived():
            assert blobs.get(export.archive_key)
        everything = report(Scope(clock.now() + timedelta(days=3), self.project))
        assert [str(finding) for finding in everything.findings()] == []
        assert not everything.unfinished
        for task in self.archived():
            remove_archive(task, "test")
        left = self.expected.values()
        kept = sum(row.has_input for row in left)
        answers = sum(row.state in (LIVE, HIDDEN) for row in left)
        assert len(stored_keys()) == kept + 2 * answers
        for _ in removal.intend_all("test", self.model, self.model.inferences.live):
            pass
        InferencePayload.objects.beside(self.model).update(removal_at=clock.now())
        removal.RECORDS.finish(self.model)
        assert not stored_keys()


def _seen(row, payload) -> Seen:
    if row is None:
        assert payload is None
        return Seen(GONE, False, False)
    state = HIDDEN if row.deleted else LIVE
    if payload.removal_at:
        assert row.deleted
        state = DOOMED
    has_input = bool(payload.data_storage_key) and not payload.input_removal_at
    return Seen(state, has_input and state != DOOMED, row.is_protected)


@pytest.mark.django_db
def test_whatever_is_done_what_must_stay_stays(blob_directory, settings):
    settings.ISTORE_REMOVAL_BATCH = 2
    settings.ISTORE_TASK_ATTEMPTS = 1000
    Retention.directory = blob_directory
    run_state_machine_as_test(Retention, settings=profile)


profile = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS_EACH,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
