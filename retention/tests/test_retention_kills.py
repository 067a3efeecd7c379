"""A worker gets ``kill -9`` in mid-task, many times: the task ends complete, counted once.

``RETENTION_KILLS`` says how often; by hand, for instance::

    RETENTION_KILLS=300 python -m pytest -n0 -s retention/tests/test_retention_kills.py
"""

from __future__ import annotations

import math
import os
import random
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from datetime import timedelta

import pytest
from django.conf import settings as django_settings
from django.db import connection
from django.db.models.functions import Now

from inferences.models import InferenceKey, InferencePayload, RegisteredModel, TaskType
from inferences.store import removal
from inferences.store.recording import record
from inferences.tests.builders import new
from istore import blobs
from istore.checks.verification import Scope, report
from istore.db import clock
from istore.tasks.tracking import TaskState
from retention import policies
from retention.models import RetentionTask
from retention.tests.builders import (
    hours_ago,
    live_ids,
    policy_of,
    stored,
    stored_keys,
)

KILLS = int(os.environ.get("RETENTION_KILLS", "10"))
OLD, AGED, PROTECTED, YOUNG = 40, 15, 3, 3

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(sys.platform == "win32", reason="forks"),
]


class Workers:
    """Processes that carry out a task, one after the other, until they are killed."""

    def __init__(self, location: str) -> None:
        database = connection.settings_dict["NAME"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "retention.tests.killed_worker", database, location],
            cwd=django_settings.BASE_DIR,
            env={
                **os.environ,
                "ISTORE_TASK_ATTEMPTS": "1000",
                "ISTORE_REMOVAL_BATCH": "7",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()

    def carry_out(self, task: RetentionTask, killed_after: float | None) -> bool:
        """Whether the worker was killed before it came to its end."""
        self.process.stdin.write(f"{task.pk}\n")
        self.process.stdin.flush()
        worker = int(self.process.stdout.readline())
        ended = select.select([self.process.stdout], [], [], killed_after)[0]
        if not ended:
            with suppress(ProcessLookupError):  # it ends in this moment
                os.kill(worker, signal.SIGKILL)
        return int(self.process.stdout.readline()) == signal.SIGKILL


def filled(project, number: int) -> RegisteredModel:
    """Old ones that go, aged ones that lose their input, and those that stay."""
    model = RegisteredModel.objects.create(
        model_id=f"m{number}", project=project, task_type=TaskType.OBJECT_DETECTION
    )
    batch = []
    for count, hours, kind in (
        (OLD, 100, "old"),
        (AGED, 60, "aged"),
        (PROTECTED, 200, "protected"),
        (YOUNG, 1, "young"),
    ):
        for each in range(count):
            key, answer = stored(), stored(b"{}", "answer")
            blobs.put(answer.replace("answer", "metadata"), b"{}")
            batch.append(
                new(
                    f"{kind}-{each}",
                    created_at=hours_ago(hours + each / 100),
                    data_size=7,
                    data_storage_key=key,
                    answer_storage_key=answer,
                    is_protected=kind == "protected",
                    detections=[("ship", 0.9)],
                )
            )
    record(model, batch)
    return model


def check(model, task, action: str, directory) -> None:
    task.refresh_from_db()
    assert (task.state, task.reason) == (TaskState.COMPLETE, "")
    assert task.deleted_record_count == task.total_record_count == OLD
    assert task.deleted_blob_count == task.total_blob_count == OLD + AGED
    assert task.deleted_bytes == task.total_bytes == 7 * (OLD + AGED)
    assert task.open_batch is None
    kept = {f"aged-{n}" for n in range(AGED)} | {f"young-{n}" for n in range(YOUNG)}
    kept |= {f"protected-{n}" for n in range(PROTECTED)}
    assert live_ids(model) == kept
    payloads = InferencePayload.objects.beside(model)
    assert not payloads.exclude(removal_at=None, input_removal_at=None).exists()
    rows = AGED + PROTECTED + YOUNG + (0 if action == "hard" else OLD)
    assert model.inferences.count() == payloads.count() == rows
    gone = InferenceKey.objects.filter(registered_model=model).exclude(removed_at=None)
    assert gone.count() == (OLD if action == "hard" else 0)
    assert len(stored_keys()) == PROTECTED + YOUNG + 2 * rows
    later = clock.now() + timedelta(days=2)
    names = ["rows", "intents", "ids", "counts", "named objects"]
    looked = report(Scope(later))
    looked.names = names
    assert [str(finding) for finding in looked.findings()] == []
    assert not looked.unfinished


def clear(model, directory) -> None:
    """Make room for the next round, by the way out of everything else."""
    for _ in removal.intend_all("test", model, model.inferences.live):
        pass
    for hidden in model.inferences.filter(deleted=True).iterator():
        InferencePayload.objects.filter(id=hidden.id).update(removal_at=Now())
    removal.RECORDS.finish(model)
    assert not model.inferences.exists()
    assert not stored_keys()


def test_a_worker_is_killed_in_mid_task_until_the_task_is_complete(
    project, blob_directory
):
    chance = random.Random(os.environ.get("RETENTION_SEED", "retention"))
    whole = math.inf  # seconds for the quickest task that nobody disturbed
    killed = rounds = 0
    with Workers(str(blob_directory)) as workers:
        while killed < KILLS:
            action = ("hard", "soft")[rounds % 2]
            model = filled(project, rounds)
            policy = policy_of(model, delete_action=action)
            task = policies.open_task("test", policy)
            began = time.monotonic()
            while task.is_active:
                disturbed = rounds and killed < KILLS
                after = chance.uniform(0, whole) if disturbed else None
                was_killed = workers.carry_out(task, after)
                before = task.attempt
                task.refresh_from_db()
                killed += was_killed and task.attempt > before
                # The lease of the dead runs out.
                past = Now() - timedelta(seconds=1)
                RetentionTask.objects.filter(state=TaskState.RUNNING).update(
                    lease_until=past
                )
            if task.attempt == 1:
                whole = min(whole, time.monotonic() - began)
            check(model, task, action, blob_directory)
            clear(model, blob_directory)
            rounds += 1
    print(f"{killed} workers were killed in mid-task, in {rounds} tasks")
